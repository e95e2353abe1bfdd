"""The detector as a whole, at toy size, with either second stage."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
from object_detection_mtl.fields import Detections, Groundtruth, Losses, Predictions
from object_detection_mtl.models.faster_rcnn import CropSecondStage
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.roi_head import RoiHead
from tests.models import tiny
from tests.training.tiny import tiny_backbone

BOXES = [[0.1, 0.1, 0.6, 0.5], [0.3, 0.4, 0.9, 0.95]]
OTHER_BOXES = [[0.5, 0.05, 0.95, 0.4]]


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def architecture(request):
    """The overrides that make a Faster R-CNN or an R-FCN."""
    return tiny.ARCHITECTURES[request.param]


@pytest.fixture(scope="module")
def trained(architecture):
    return tiny.detector(*architecture, is_training=True)


@pytest.fixture(scope="module")
def inferring(architecture):
    return tiny.detector(*architecture, is_training=False)


# Samples so large that nothing is left to chance.
EVERYTHING = (
    "model.faster_rcnn.first_stage_minibatch_size=100000",
    "model.faster_rcnn.second_stage_batch_size=8",
    "model.faster_rcnn.second_stage_balance_fraction=1.0",
    "model.faster_rcnn.first_stage_positive_balance_fraction=1.0",
)


@pytest.fixture(scope="module")
def trained_on_everything(architecture):
    return tiny.detector(*architecture, *EVERYTHING, is_training=True)


def losses_of(detector, images, truth, seed=(0, 0)):
    inputs, shapes = detector.preprocess(images)
    seed = tf.constant(seed)
    predictions = detector.predict(inputs, shapes, truth, seed=seed)
    losses = detector.loss(predictions, truth, seed=seed)
    return {key: float(value) for key, value in losses.items()}


@pytest.mark.parametrize(("name", "variables"), [("faster_rcnn", 137), ("rfcn", 139)])
def test_all_variables_exist_before_the_first_call(name, variables):
    detector = tiny.detector(*tiny.ARCHITECTURES[name], is_training=False)
    assert len(detector.variables) == variables
    inputs, shapes = detector.preprocess(tiny.images(1))
    detector.predict(inputs, shapes)
    assert len(detector.variables) == variables


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
    assert boxes.min() >= 0.0
    assert boxes.max() <= 1.0
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


def padded_batch():
    """Inputs [3, 96, 128, 3] and shapes: images of three sizes, zero padded to one."""
    shapes = tf.constant([[96, 64, 3], [64, 128, 3], [80, 80, 3]])
    inputs = tf.random.stateless_uniform([3, 96, 128, 3], (0, 0), -1.0, 1.0)
    rows = tf.sequence_mask(shapes[:, 0], 96)[:, :, tf.newaxis]
    columns = tf.sequence_mask(shapes[:, 1], 128)[:, tf.newaxis, :]
    return inputs * tf.cast(rows & columns, tf.float32)[..., tf.newaxis], shapes


def test_everything_ends_at_the_true_image(inferring):
    inputs, shapes = padded_batch()
    predictions = inferring.predict(inputs, shapes)
    detections = inferring.postprocess(predictions, shapes)
    proposals = predictions[Predictions.proposal_boxes].numpy()
    assert np.all(predictions[Predictions.num_proposals].numpy() > 0)
    for i, (height, width, _) in enumerate(shapes.numpy()):
        assert proposals[i, :, 2].max() <= height
        assert proposals[i, :, 3].max() <= width
    # Some do reach the border, so it is the true one that cuts.
    normalized = predictions[Predictions.proposal_boxes_normalized].numpy()
    assert np.count_nonzero(normalized[..., 2:].max(axis=(1, 2)) > 0.99) == 2
    for key in (Detections.boxes, Detections.raw_boxes):
        boxes = detections[key].numpy()
        assert boxes.min() >= 0.0
        assert boxes.max() <= 1.0


def test_anchors_that_train_end_at_the_true_image(trained):
    inputs, shapes = padded_batch()
    truth = tiny.groundtruth(BOXES, OTHER_BOXES, [])
    predictions = trained.predict(inputs, shapes, truth)
    anchors = predictions[Predictions.anchors].numpy()
    inside = predictions[Predictions.anchors_inside].numpy()
    for i, (height, width, _) in enumerate(shapes.numpy()):
        fits = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2:] <= [height, width]).all(1)
        np.testing.assert_array_equal(inside[i], fits)
    assert len({tuple(row) for row in inside}) == 3


def test_an_image_of_a_padded_batch_depends_on_no_other(inferring):
    inputs, shapes = padded_batch()
    together = inferring.predict(inputs, shapes)
    together |= inferring.postprocess(together, shapes)
    for i in range(3):
        alone = inferring.predict(inputs[i : i + 1], shapes[i : i + 1])
        alone |= inferring.postprocess(alone, shapes[i : i + 1])
        for key in (
            Predictions.proposal_boxes,
            Predictions.num_proposals,
            Predictions.class_predictions,
            Predictions.refined_box_encodings,
            Detections.boxes,
            Detections.scores,
        ):
            scale = np.abs(alone[key].numpy()).max()
            np.testing.assert_allclose(
                together[key][i], alone[key][0], atol=1e-4 * scale, err_msg=key
            )


def test_no_proposals(architecture):
    """Nothing scores more than 1."""
    nothing = "model.faster_rcnn.first_stage_nms_score_threshold=1.0"
    detector = tiny.detector(*architecture, nothing, is_training=False)
    inputs, shapes = detector.preprocess(tiny.images(2))
    predictions = detector.predict(inputs, shapes)
    assert predictions[Predictions.num_proposals].numpy().tolist() == [0, 0]
    detections = detector.postprocess(predictions, shapes)
    assert detections[Detections.num_detections].numpy().tolist() == [0.0, 0.0]
    assert not detections[Detections.scores].numpy().any()
    detector = tiny.detector(*architecture, nothing, is_training=True)
    losses = losses_of(detector, tiny.images(2), tiny.groundtruth(BOXES, []))
    assert losses[Losses.box_localization] == losses[Losses.box_classification] == 0.0
    assert losses[Losses.rpn_objectness] > 0


def test_padded_proposals_change_nothing(inferring, trained_on_everything):
    """Of eight rows the last five are padding, with arbitrary values."""
    inputs, shapes = inferring.preprocess(tiny.images(1))
    predictions = inferring.predict(inputs, shapes)
    assert predictions[Predictions.num_proposals].numpy().tolist() == [8]
    few = predictions | {Predictions.num_proposals: tf.constant([3])}
    detections = inferring.postprocess(few, shapes)
    count = int(detections[Detections.num_detections][0])
    assert 0 < count <= 3 * 3
    assert detections[Detections.anchor_indices].numpy()[0, :count].max() == 2.0

    truth = tiny.groundtruth(BOXES)
    inputs, shapes = trained_on_everything.preprocess(tiny.images(1))
    predictions = trained_on_everything.predict(inputs, shapes, truth)
    few = predictions | {Predictions.num_proposals: tf.constant([3])}
    expected = trained_on_everything.loss(few, truth)
    for key in (Predictions.class_predictions, Predictions.refined_box_encodings):
        padding = tf.fill(tf.shape(few[key][:, 3:]), float("inf"))
        few |= {key: tf.concat([few[key][:, :3], padding], axis=1)}
    for key, loss in trained_on_everything.loss(few, truth).items():
        assert float(loss) == pytest.approx(float(expected[key])), key


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


def test_logits_of_zero_cost_the_logarithm_of_the_number_of_classes(architecture):
    fresh = tiny.detector(*architecture, is_training=True)
    for layer in (fresh.region_proposals.class_head, fresh.second_stage.head.predictor.class_head):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
        layer.bias.assign(tf.zeros_like(layer.bias))
    losses = losses_of(fresh, tiny.images(1), tiny.groundtruth(BOXES))
    assert losses[Losses.rpn_objectness] == pytest.approx(np.log(2), rel=1e-5)
    assert losses[Losses.box_classification] == pytest.approx(np.log(4), rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_of_its_images(trained_on_everything):
    images = tiny.images(2)
    together = losses_of(trained_on_everything, images, tiny.groundtruth(BOXES, OTHER_BOXES))
    alone = [
        losses_of(trained_on_everything, images[i : i + 1], tiny.groundtruth(boxes))
        for i, boxes in enumerate((BOXES, OTHER_BOXES))
    ]
    for key, value in together.items():
        assert value == pytest.approx((alone[0][key] + alone[1][key]) / 2, rel=1e-4), key


def test_an_image_without_objects_trains(trained):
    losses = losses_of(trained, tiny.images(1), tiny.groundtruth([]))
    assert losses[Losses.rpn_localization] == 0.0
    assert losses[Losses.box_localization] == 0.0
    assert losses[Losses.rpn_objectness] > 0
    assert losses[Losses.box_classification] > 0


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


def test_training_without_groundtruth_is_an_error(trained):
    inputs, shapes = trained.preprocess(tiny.images(1))
    with pytest.raises(ValueError, match="needs `groundtruth`"):
        trained.predict(inputs, shapes)


def test_one_detector_trains_and_detects(trained, inferring):
    """The argument `training` overrides what the detector was built for."""
    inputs, shapes = trained.preprocess(tiny.images(2))
    truth = tiny.groundtruth(BOXES, OTHER_BOXES)
    expected = trained.predict(inputs, shapes, truth)
    for key, value in inferring.predict(inputs, shapes, truth, training=True).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)
    expected = inferring.predict(inputs, shapes)
    found = trained.predict(inputs, shapes, training=False)
    assert set(found) == set(expected)
    for key, value in found.items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


def test_every_trainable_variable_gets_a_finite_gradient(trained):
    truth = tiny.groundtruth(BOXES, [])
    inputs, shapes = trained.preprocess(tiny.images(2))
    variables = [variable.value for variable in trained.trainable_variables]

    with tf.GradientTape() as tape:
        losses = trained.loss(trained.predict(inputs, shapes, truth), truth)
        total = tf.add_n(list(losses.values()))
    gradients = tape.gradient(total, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.name
        assert np.isfinite(gradient.numpy()).all(), variable.name


def test_regularization_counts_frozen_variables_too():
    frozen = tiny.detector("model.faster_rcnn.feature_extractor.trainable=false", is_training=True)
    free = tiny.detector(is_training=True)
    assert float(frozen.regularization_loss()) == pytest.approx(float(free.regularization_loss()))
    names = [variable.path for variable in frozen.trainable_variables]
    assert len(names) == 10
    assert not any("Conv2d" in name for name in names)


def test_backbone_and_second_stage_are_enough():
    sample = model_builder.build(pipeline.load(str(tiny.SAMPLE)).model)
    backbone = tiny_backbone()
    predictor = MaskRcnnBoxPredictor(in_channels=backbone.stage1.output_shape[-1], num_classes=20)
    second_stage = CropSecondStage(RoiHead(backbone.make_stage2("stage2"), predictor))
    detector = TwoStageDetector(num_classes=20, backbone=backbone, second_stage=second_stage)
    assert detector.loss_weights == sample.loss_weights
    selection, wanted = detector.proposal_selection, sample.proposal_selection
    assert selection.max_proposals == wanted.max_proposals
    assert selection.iou_threshold == pytest.approx(wanted.iou_threshold)
    assert detector.second_stage.crop_size == sample.second_stage.crop_size
    anchors = detector.region_proposals.anchor_generator
    assert anchors.aspect_ratios == (0.5, 1.0, 2.0)
    assert anchors.scales == sample.region_proposals.anchor_generator.scales
    assert anchors.stride == sample.region_proposals.anchor_generator.stride
    inputs, shapes = detector.preprocess(tf.zeros([1, 300, 400, 3], tf.uint8))
    assert shapes.numpy().tolist() == [[600, 800, 3]]
    detections = detector.postprocess(detector.predict(inputs, shapes), shapes)
    assert detections[Detections.boxes].shape == [1, 300, 4]
