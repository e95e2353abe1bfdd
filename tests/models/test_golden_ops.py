"""Stage losses and post-processing against the OD API's own numbers (golden_ops, batches of 2)."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Detections, Losses, Predictions
from object_detection_mtl.models import box_classifier, coordinate_frames, rpn
from object_detection_mtl.models.postprocess import (
    DetectionSelection,
    select_detections,
)
from object_detection_mtl.models.proposals import ProposalSelection, select_proposals
from object_detection_mtl.ops.anchors import GridAnchorGenerator
from tests.golden import ops_cases

pytestmark = pytest.mark.golden
TOLERANCE = 1e-5


def load_case(name: str) -> ops_cases.Case:
    return next(case for case in ops_cases.cases(name.split("/")[0]) if case.id == name)


def padded(arrays: list[np.ndarray]) -> tf.Tensor:
    """Arrays of different lengths as one zero padded batch."""
    batch = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), np.float32)
    for row, array in zip(batch, arrays, strict=True):
        row[: len(array)] = array
    return tf.constant(batch)


def both_images(inputs: dict[str, np.ndarray], name: str) -> tf.Tensor:
    return padded([inputs[f"{name}{image}"] for image in range(2)])


def test_proposals():
    case = load_case("postprocess_rpn/00")
    inputs, expected = case.inputs, case.expected
    boxes, scores, count = select_proposals(
        tf.constant(inputs["rpn_box_encodings"]),
        tf.constant(inputs["rpn_objectness"]),
        tf.constant(inputs["anchors"]),
        coordinate_frames.image_windows(tf.constant(inputs["true_image_shapes"])),
        tf.ones(inputs["rpn_objectness"].shape[:2], tf.bool),
        ProposalSelection(max_proposals=30),
    )
    np.testing.assert_array_equal(count, expected["num_proposals"])
    np.testing.assert_allclose(scores, expected["proposal_scores"], atol=TOLERANCE)
    # The OD API divides by the padded shape, this package by the true one: compare pixels.
    padded_shape = np.tile(inputs["image_shapes"][:, np.newaxis, :2], [1, 1, 2])
    absolute = expected["proposal_boxes_normalized"] * padded_shape
    np.testing.assert_allclose(boxes, absolute, atol=TOLERANCE * padded_shape.max())


def test_rpn_loss():
    case = load_case("loss_rpn/00")
    inputs = case.inputs
    network = rpn.RegionProposalNetwork(
        anchor_generator=GridAnchorGenerator((1.0,), (1.0,)),
        in_channels=1,
        sampling=rpn.RpnSampling(minibatch_size=100000),
    )
    predictions = {
        Predictions.rpn_box_encodings: tf.constant(inputs["rpn_box_encodings"]),
        Predictions.rpn_objectness: tf.constant(inputs["rpn_objectness"]),
        Predictions.anchors: tf.constant(inputs["anchors"]),
        Predictions.anchors_inside: tf.ones(inputs["rpn_objectness"].shape[:2], tf.bool),
    }
    losses = network.loss(
        predictions,
        both_images(inputs, "gt_boxes"),
        tf.constant([3, 2]),
        both_images(inputs, "gt_weights"),
        tf.constant([0, 0]),
    )
    weight = case.params["localization_loss_weight"]
    np.testing.assert_allclose(
        weight * losses[Losses.rpn_localization],
        case.expected["localization_loss"],
        rtol=TOLERANCE,
    )
    np.testing.assert_allclose(
        losses[Losses.rpn_objectness], case.expected["objectness_loss"], rtol=TOLERANCE
    )


def second_stage_outputs(inputs: dict[str, np.ndarray]) -> tuple[tf.Tensor, ...]:
    """Encodings [2, 30, K or 1, 4], logits [2, 30, K + 1], proposals, their number."""
    encodings = inputs["refined_box_encodings"]
    logits = inputs["class_predictions_with_background"]
    return (
        tf.reshape(encodings, [2, 30, *encodings.shape[1:]]),
        tf.reshape(logits, [2, 30, logits.shape[-1]]),
        tf.constant(inputs["proposal_boxes"]),
        tf.constant(inputs["num_proposals"]),
    )


@pytest.mark.parametrize("name", ["loss_box_classifier/00", "loss_box_classifier/01"])
def test_box_classifier_loss(name):
    case = load_case(name)
    encodings, logits, proposals, count = second_stage_outputs(case.inputs)
    groundtruth = box_classifier.AbsoluteGroundtruth(
        boxes=both_images(case.inputs, "gt_boxes"),
        num_boxes=tf.constant([3, 2]),
        class_targets=both_images(case.inputs, "gt_classes_with_background"),
        weights=both_images(case.inputs, "gt_weights"),
    )
    assigned = box_classifier.assign(proposals, count, groundtruth, matched_threshold=0.5)
    losses = box_classifier.box_classifier_loss(encodings, logits, count, assigned)
    weight = case.params["localization_loss_weight"]
    np.testing.assert_allclose(
        weight * losses[Losses.box_localization],
        case.expected["localization_loss"],
        rtol=TOLERANCE,
    )
    np.testing.assert_allclose(
        losses[Losses.box_classification], case.expected["classification_loss"], rtol=TOLERANCE
    )


@pytest.mark.parametrize("name", ["postprocess_box_classifier/00", "postprocess_box_classifier/01"])
def test_detections(name):
    case = load_case(name)
    detections = select_detections(
        *second_stage_outputs(case.inputs),
        coordinate_frames.image_windows(tf.constant(case.inputs["true_image_shapes"])),
        DetectionSelection(),
    )
    for key in (
        Detections.num_detections,
        Detections.classes,
        Detections.boxes,
        Detections.scores,
    ):
        np.testing.assert_allclose(detections[key], case.expected[key], atol=TOLERANCE, err_msg=key)
