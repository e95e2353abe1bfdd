"""Ways to select detections, on hand-made scores of four proposals and two classes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Detections, Predictions
from object_detection_mtl.models.postprocess import (
    DetectionSelection,
    proposals_as_detections,
    select_detections,
)

# The second overlaps the first by 3/5, the others none.
PROPOSALS = [[0, 0, 4, 4], [0, 1, 4, 5], [6, 6, 10, 10], [0, 6, 4, 10]]
SCORES = [[0.0, 0.9, 0.8], [0.0, 0.6, 0.7], [0.0, 0.5, 0.1], [0.0, 0.0, 0.4]]
WINDOW = tf.constant([[0.0, 0.0, 10.0, 10.0]])


def select(**options):
    """Rows of (class, proposal, score)."""
    selection = DetectionSelection(score_converter=tf.identity, iou_threshold=0.5, **options)
    detections = select_detections(
        tf.zeros([1, 4, 1, 4]),
        tf.constant([SCORES]),
        tf.constant([PROPOSALS], tf.float32),
        tf.constant([4]),
        WINDOW,
        selection,
    )
    count = int(detections[Detections.num_detections][0])
    keys = (Detections.classes, Detections.anchor_indices, Detections.scores)
    return np.column_stack([detections[key][0, :count] for key in keys])


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_each_class_on_its_own():
    check(
        select(max_total=5),
        [[0, 0, 0.9], [1, 0, 0.8], [0, 2, 0.5], [1, 3, 0.4], [1, 2, 0.1]],
    )
    assert len(select(max_per_class=1)) == 2


def test_soft_suppression_lowers_scores():
    """By exp(-(3/5)^2 / (2 * 0.5)) = 0.697676."""
    lowered = 0.697676
    expected = [
        [0, 0, 0.9],
        [1, 0, 0.8],
        [0, 2, 0.5],
        [1, 1, 0.7 * lowered],
        [0, 1, 0.6 * lowered],
        [1, 3, 0.4],
        [1, 2, 0.1],
    ]
    check(select(soft_nms_sigma=0.5), expected)


def test_boxes_compete_whatever_their_class():
    """The second proposal's 0.7 for class 1 loses to the first's 0.9 for class 0."""
    check(select(class_agnostic=True), [[0, 0, 0.9], [0, 2, 0.5], [1, 3, 0.4]])
    check(
        select(class_agnostic=True, max_classes_per_detection=2, max_total=4),
        [[0, 0, 0.9], [1, 0, 0.8], [0, 2, 0.5], [1, 3, 0.4]],
    )


def test_a_first_stage_alone_gives_objects_of_one_class():
    """Three rows, the third padding; the image is 10 high and 20 wide."""
    predictions = {
        Predictions.proposal_boxes: [[[0.0, 0, 5, 10], [5, 10, 10, 20], [0, 0, 0, 0]]],
        Predictions.proposal_scores: [[0.75, 0.5, 0.0]],
        Predictions.num_proposals: [2],
        Predictions.rpn_box_encodings: np.zeros([1, 1, 4], np.float32),
        Predictions.rpn_objectness: np.zeros([1, 1, 2], np.float32),
        Predictions.anchors: [[-5.0, 5.0, 5.0, 15.0]],
    }
    detections = proposals_as_detections(
        {key: tf.constant(value) for key, value in predictions.items()},
        tf.constant([[0.0, 0.0, 10.0, 20.0]]),
    )
    expected = {
        Detections.boxes: [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0, 0]],
        Detections.scores: [0.75, 0.5, 0],
        Detections.classes: [0, 0, 0],
        Detections.num_detections: 2,
        Detections.multiclass_scores: [[0.25, 0.75], [0.5, 0.5], [0, 0]],
        Detections.anchor_indices: [0, 1, 0],
        Detections.raw_boxes: [[0, 0.25, 0.5, 0.75]],
        Detections.raw_scores: [[0.5, 0.5]],
    }
    assert set(detections) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(detections[key][0], value, err_msg=key)
