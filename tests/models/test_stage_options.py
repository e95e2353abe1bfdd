"""Options of the two stages: hard examples, anchors cut at the border, a first stage alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.fields import Detections, Losses, Predictions
from object_detection_mtl.models import box_classifier
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops.hard_example_miner import mine_hard_examples
from object_detection_mtl.ops.targets import Targets
from tests.models import tiny

BOXES = [[0.1, 0.1, 0.6, 0.5], [0.3, 0.4, 0.9, 0.95]]
OTHER_BOXES = [[0.5, 0.05, 0.95, 0.4]]
MODEL = "model.faster_rcnn"
# Nothing is left to chance in the first stage.
ALL_ANCHORS = (
    f"{MODEL}.first_stage_minibatch_size=100000",
    f"{MODEL}.first_stage_positive_balance_fraction=1.0",
)


def losses_of(detector, images, truth):
    inputs, shapes = detector.preprocess(images)
    predictions = detector.predict(inputs, shapes, truth)
    losses = detector.loss(predictions, truth)
    return {key: float(value) for key, value in losses.items()}, predictions


def check_batch_is_mean_of_images(detector):
    images = tiny.images(2)
    together, _ = losses_of(detector, images, tiny.groundtruth(BOXES, OTHER_BOXES))
    alone = [
        losses_of(detector, images[i : i + 1], tiny.groundtruth(boxes))[0]
        for i, boxes in enumerate((BOXES, OTHER_BOXES))
    ]
    for key, value in together.items():
        assert value == pytest.approx((alone[0][key] + alone[1][key]) / 2, rel=1e-4), key


# Hard examples -----------------------------------------------------------------------------------


def kept(**options):
    """Which of four background proposals of two images keep their weight.

    Their losses are log(1 + e^logit). The first two proposals of an image lie on one another.
    """
    boxes = tf.constant([[[0.0, 0, 4, 4], [0, 0, 4, 4], [5, 5, 9, 9], [5, 0, 9, 4]]] * 2)
    logits = tf.constant([[3.0, 4.0, 1.0, 2.0], [9.0, 1.0, 2.0, 3.0]])
    is_background = tf.constant([[1.0, 1, 1, 1], [1, 1, 0, 1]])
    weights = tf.ones([2, 4])
    assigned = Targets(
        class_targets=tf.stack([is_background, 1 - is_background], axis=-1),
        class_weights=weights,
        box_targets=tf.zeros([2, 4, 4]),
        box_weights=1 - is_background,
        matches=tf.cast(-is_background, tf.int32),
    )
    hard = box_classifier.keep_hard_examples(
        assigned,
        tf.zeros([2, 4, 1, 4]),
        tf.stack([tf.zeros([2, 4]), tf.where(is_background > 0, logits, -logits)], axis=-1),
        boxes,
        tf.constant([4, 3]),
        classification_loss=loss_ops.softmax_cross_entropy,
        miner=functools.partial(mine_hard_examples, iou_threshold=0.7, **options),
    )
    np.testing.assert_array_equal(hard.box_weights, hard.class_weights * assigned.box_weights)
    return hard.class_weights.numpy().astype(int).tolist()


def test_the_hardest_of_every_image_that_do_not_overlap():
    assert kept(num_hard_examples=2) == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert kept(num_hard_examples=None) == [[0, 1, 1, 1], [1, 0, 1, 0]]


def test_few_negatives():
    options = {"num_hard_examples": None, "max_negatives_per_positive": 1}
    assert kept(**options) == [[0, 0, 0, 0], [1, 0, 1, 0]]
    assert kept(**options, min_negatives_per_image=2) == [[0, 1, 0, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES.values(), ids=tiny.ARCHITECTURES)
def test_a_detector_that_mines(architecture):
    detector = tiny.detector(
        *architecture,
        *ALL_ANCHORS,
        f"{MODEL}.hard_example_miner.num_hard_examples=3",
        f"{MODEL}.hard_example_miner.iou_threshold=0.99",
        f"{MODEL}.hard_example_miner.loss_type=CLASSIFICATION",
        is_training=True,
    )
    losses, predictions = losses_of(detector, tiny.images(1), tiny.groundtruth([]))
    # All proposals are there, not a sample of six.
    logits = predictions[Predictions.class_predictions]
    assert logits.shape == (1, 8, 4)
    assert predictions[Predictions.num_proposals].numpy().tolist() == [8]
    hardest = np.sort(-np.log(tf.nn.softmax(logits)[0, :, 0]))[-3:]
    assert losses[Losses.box_classification] == pytest.approx(hardest.sum() / 8, rel=1e-5)
    check_batch_is_mean_of_images(detector)


# Anchors ------------------------------------------------------------------------------------------


def test_anchors_clipped_at_the_border():
    detector = tiny.detector(
        *ALL_ANCHORS,
        f"{MODEL}.clip_anchors_to_image=true",
        f"{MODEL}.second_stage_balance_fraction=1.0",
        f"{MODEL}.second_stage_batch_size=8",
        is_training=True,
    )
    inputs, _ = detector.preprocess(tiny.images(2))
    shapes = tf.constant([[64, 80, 3], [40, 48, 3]])
    truth = tiny.groundtruth(BOXES, OTHER_BOXES)
    predictions = detector.predict(inputs, shapes, truth)
    anchors = predictions[Predictions.anchors].numpy()
    counts = predictions[Predictions.anchors_inside].numpy()
    assert anchors.shape == (2, 4 * 5 * 12, 4)
    assert anchors.min() == 0.0
    assert anchors.max(axis=1)[:, 2:].tolist() == [[64, 80], [40, 48]]
    # 40 rows and 48 columns are three cells each; those in the padding do not count.
    on_image = np.zeros((4, 5, 12), bool)
    on_image[:3, :3] = True
    assert counts[0].all()
    np.testing.assert_array_equal(counts[1], on_image.reshape(-1))
    assert all(np.isfinite(loss) for loss in detector.loss(predictions, truth).values())
    check_batch_is_mean_of_images(detector)


# One stage ----------------------------------------------------------------------------------------


def one_stage(**options):
    return tiny.detector(*ALL_ANCHORS, f"{MODEL}.first_stage_only=true", **options)


def test_a_first_stage_alone_detects_its_proposals():
    detector = one_stage(is_training=False)
    assert len(tf1_detection.name_map(detector)) == len(detector.variables) == 121
    inputs, shapes = detector.preprocess(tiny.images(2))
    predictions = detector.predict(inputs, shapes)
    assert Predictions.class_predictions not in predictions
    detections = detector.postprocess(predictions, shapes)
    # The main logits' own detections exist with a refinement only.
    keys = {value for key, value in vars(Detections).items() if not key.startswith("_")}
    assert set(detections) == keys - {Detections.main_scores, Detections.main_classes}
    np.testing.assert_allclose(
        detections[Detections.boxes], predictions[Predictions.proposal_boxes_normalized]
    )
    assert detections[Detections.num_detections].numpy().tolist() == [8.0, 8.0]
    assert not detections[Detections.classes].numpy().any()
    both = tiny.detector(is_training=False)
    np.testing.assert_allclose(
        both.predict(inputs, shapes)[Predictions.proposal_scores],
        detections[Detections.scores],
    )


def test_a_first_stage_alone_trains():
    detector = one_stage(is_training=True)
    losses, predictions = losses_of(detector, tiny.images(1), tiny.groundtruth(BOXES))
    assert set(losses) == set(detector.loss_weights)
    assert set(losses) == {Losses.rpn_localization, Losses.rpn_objectness}
    assert Predictions.proposal_boxes not in predictions
    both = tiny.detector(*ALL_ANCHORS, is_training=True)
    expected, _ = losses_of(both, tiny.images(1), tiny.groundtruth(BOXES))
    assert losses == pytest.approx({key: expected[key] for key in losses})
    check_batch_is_mean_of_images(detector)


def test_a_first_stage_alone_has_no_auxiliary_tasks():
    config = tiny.config(f"{MODEL}.first_stage_only=true", "model.mtl.window=true")
    with pytest.raises(ValueError, match="window need a second stage, but number_of_stages is 1"):
        model_builder.build(config.model, is_training=True)
