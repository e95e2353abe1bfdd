"""The detector as a whole, at toy size."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Detections, Groundtruth, Losses, Predictions
from tests.models import tiny

BOXES = [[0.1, 0.1, 0.6, 0.5], [0.3, 0.4, 0.9, 0.95]]
OTHER_BOXES = [[0.5, 0.05, 0.95, 0.4]]


@pytest.fixture(scope="module")
def trained():
    return tiny.detector(is_training=True)


@pytest.fixture(scope="module")
def inferring():
    return tiny.detector(is_training=False)


def losses_of(detector, images, truth, seed=(0, 0)):
    inputs, shapes = detector.preprocess(images)
    seed = tf.constant(seed)
    predictions = detector.predict(inputs, shapes, truth, seed=seed)
    losses = detector.loss(predictions, truth, seed=seed)
    return {key: float(value) for key, value in losses.items()}


def test_all_variables_exist_before_the_first_call(inferring):
    assert len(inferring.variables) == 137
    assert len(tiny.detector(is_training=False).variables) == 137


def test_shapes_of_predictions_and_detections(inferring):
    inputs, shapes = inferring.preprocess(tiny.images(2))
    assert inputs.shape == (2, 64, 80, 3)
    assert np.abs(inputs).max() <= 1.0
    predictions = inferring.predict(inputs, shapes)
    anchors = 4 * 5 * 12
    assert predictions[Predictions.rpn_box_encodings].shape == (2, anchors, 4)
    assert predictions[Predictions.rpn_objectness].shape == (2, anchors, 2)
    assert predictions[Predictions.anchors].shape == (anchors, 4)
    assert predictions[Predictions.proposal_boxes].shape == (2, 8, 4)
    assert predictions[Predictions.refined_box_encodings].shape == (2, 8, 3, 4)
    assert predictions[Predictions.class_predictions].shape == (2, 8, 4)
    detections = inferring.postprocess(predictions, shapes)
    assert detections[Detections.boxes].shape == (2, 300, 4)
    assert detections[Detections.multiclass_scores].shape == (2, 300, 4)
    assert detections[Detections.raw_boxes].shape == (2, 8, 4)
    boxes = detections[Detections.boxes].numpy()
    assert boxes.min() >= 0.0 and boxes.max() <= 1.0
    rows = detections[Detections.anchor_indices].numpy().astype(int)[0, :5]
    np.testing.assert_allclose(
        detections[Detections.multiclass_scores][0, :5],
        detections[Detections.raw_scores].numpy()[0, rows],
    )


def test_a_batch_equals_its_images_one_by_one(inferring):
    images = tiny.images(3)
    inputs, shapes = inferring.preprocess(images)
    together = inferring.postprocess(inferring.predict(inputs, shapes), shapes)
    for i in range(3):
        inputs, shapes = inferring.preprocess(images[i : i + 1])
        alone = inferring.postprocess(inferring.predict(inputs, shapes), shapes)
        for key, value in alone.items():
            np.testing.assert_allclose(together[key][i], value[0], atol=1e-4, err_msg=key)


def test_detections_end_at_the_true_image(inferring):
    inputs, shapes = inferring.preprocess(tiny.images(1))
    padded = tf.pad(inputs, [[0, 0], [0, 32], [0, 48], [0, 0]])
    predictions = inferring.predict(padded, shapes)
    proposals = predictions[Predictions.proposal_boxes].numpy()
    assert proposals[..., 2].max() <= 64 and proposals[..., 3].max() <= 80
    detections = inferring.postprocess(predictions, shapes)
    assert detections[Detections.boxes].numpy().max() <= 1.0


def test_losses_are_named_weighted_and_finite(trained):
    losses = losses_of(trained, tiny.images(1), tiny.groundtruth(BOXES))
    assert set(losses) == set(trained.loss_weights)
    assert set(losses) == {
        Losses.rpn_localization,
        Losses.rpn_objectness,
        Losses.box_localization,
        Losses.box_classification,
    }
    assert all(np.isfinite(value) and value >= 0 for value in losses.values())


def test_logits_of_zero_cost_the_logarithm_of_the_number_of_classes():
    fresh = tiny.detector(is_training=True)
    for layer in (fresh.region_proposals.class_head, fresh.second_stage.head.predictor.class_head):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(tf.zeros_like(layer.bias))
    losses = losses_of(fresh, tiny.images(1), tiny.groundtruth(BOXES))
    assert losses[Losses.rpn_objectness] == pytest.approx(np.log(2), rel=1e-5)
    assert losses[Losses.box_classification] == pytest.approx(np.log(4), rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_of_its_images():
    # Samples so large that nothing is left to chance.
    detector = tiny.detector(
        "model.faster_rcnn.first_stage_minibatch_size=100000",
        "model.faster_rcnn.second_stage_batch_size=8",
        "model.faster_rcnn.second_stage_balance_fraction=1.0",
        "model.faster_rcnn.first_stage_positive_balance_fraction=1.0",
        is_training=True,
    )
    images = tiny.images(2)
    together = losses_of(detector, images, tiny.groundtruth(BOXES, OTHER_BOXES))
    alone = [
        losses_of(detector, images[i : i + 1], tiny.groundtruth(boxes))
        for i, boxes in enumerate((BOXES, OTHER_BOXES))
    ]
    for key, value in together.items():
        assert value == pytest.approx((alone[0][key] + alone[1][key]) / 2, rel=1e-4), key


def test_an_image_without_objects_trains(trained):
    losses = losses_of(trained, tiny.images(1), tiny.groundtruth([]))
    assert losses[Losses.rpn_localization] == 0.0
    assert losses[Losses.box_localization] == 0.0
    assert losses[Losses.rpn_objectness] > 0 and losses[Losses.box_classification] > 0


def test_padding_and_weight_zero_of_groundtruth_change_nothing(trained):
    truth = tiny.groundtruth(BOXES)
    padded = {
        Groundtruth.boxes: tf.pad(truth[Groundtruth.boxes], [[0, 0], [0, 3], [0, 0]]),
        Groundtruth.classes: tf.pad(truth[Groundtruth.classes], [[0, 0], [0, 3]]),
        Groundtruth.num_boxes: truth[Groundtruth.num_boxes],
    }
    expected = losses_of(trained, tiny.images(1), truth)
    assert losses_of(trained, tiny.images(1), padded) == pytest.approx(expected)
    assert losses_of(
        trained, tiny.images(1), truth | {Groundtruth.weights: tf.ones([1, 2])}
    ) == pytest.approx(expected)
    ignored = losses_of(trained, tiny.images(1), truth | {Groundtruth.weights: tf.zeros([1, 2])})
    assert ignored[Losses.rpn_localization] == 0.0
    assert ignored[Losses.box_localization] == 0.0


def test_samples_follow_the_seed(trained):
    truth = tiny.groundtruth(BOXES)
    first = losses_of(trained, tiny.images(1), truth, seed=(3, 4))
    assert losses_of(trained, tiny.images(1), truth, seed=(3, 4)) == first
    assert losses_of(trained, tiny.images(1), truth, seed=(3, 5)) != first


def test_training_without_groundtruth_says_so(trained):
    inputs, shapes = trained.preprocess(tiny.images(1))
    with pytest.raises(ValueError, match="needs `groundtruth`"):
        trained.predict(inputs, shapes)


def test_every_trainable_variable_gets_a_finite_gradient(trained):
    truth = tiny.groundtruth(BOXES, [])
    inputs, shapes = trained.preprocess(tiny.images(2))
    variables = [variable.value for variable in trained.trainable_variables]

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            losses = trained.loss(trained.predict(inputs, shapes, truth), truth)
            total = tf.add_n(list(losses.values()))
        return tape.gradient(total, variables)

    for variable, gradient in zip(variables, gradients(), strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient.numpy()).all(), variable.name


def test_regularization_counts_frozen_variables_too():
    frozen = tiny.detector("model.faster_rcnn.feature_extractor.trainable=false", is_training=True)
    free = tiny.detector(is_training=True)
    assert float(frozen.regularization_loss()) == pytest.approx(float(free.regularization_loss()))
    names = [variable.path for variable in frozen.trainable_variables]
    assert len(names) == 10 and not any("Conv2d" in name for name in names)
