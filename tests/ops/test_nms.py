"""Suppression: hand-worked cases and goldens of the OD API."""

import numpy as np
import tensorflow as tf

from object_detection_mtl.ops import nms
from tests.golden.ops_cases import each_case
from tests.ops.nms_cases import (
    CLUSTER_SCORES,
    CLUSTERS,
    EVERY_WAY,
    kept,
    suppress,
)


@EVERY_WAY
@each_case("batch_multiclass_nms")
def test_golden(case):
    params, inputs = case.params, {name: tf.constant(a) for name, a in case.inputs.items()}
    arguments = {
        "score_threshold": params["score_thresh"],
        "iou_threshold": params["iou_thresh"],
        "max_total_size": params["max_total_size"],
        "clip_window": inputs.get("clip_window"),
        "change_coordinate_frame": params.get("change_coordinate_frame", False),
        "num_valid_boxes": inputs.get("num_valid_boxes"),
        "soft_nms_sigma": params.get("soft_nms_sigma", 0.0),
        "additional_fields": {name: inputs[name] for name in ("extra",) if name in inputs},
    }
    if params.get("use_class_agnostic_nms"):
        result = nms.batch_class_agnostic_nms(
            inputs["boxes"],
            inputs["scores"],
            max_classes_per_detection=params["max_classes_per_detection"],
            **arguments,
        )
    else:
        result = nms.batch_multiclass_nms(
            inputs["boxes"],
            inputs["scores"],
            max_size_per_class=params["max_size_per_class"],
            **arguments,
        )
    for name in ("boxes", "scores", "classes", "num_detections"):
        np.testing.assert_allclose(getattr(result, name), case.expected[name], atol=1e-5)
    assert result.num_detections.dtype == tf.int32
    for name, field in result.additional_fields.items():
        np.testing.assert_allclose(field, case.expected[name], atol=1e-5)


@EVERY_WAY
def test_three_clusters():
    result = suppress(CLUSTERS, CLUSTER_SCORES)
    assert kept(result) == [(3, 0), (0, 0), (5, 0)]
    np.testing.assert_allclose(result.scores[0, :4], [0.95, 0.9, 0.3, 0])
    np.testing.assert_array_equal(result.boxes[0, :3], CLUSTERS[[3, 0, 5]])
    assert not result.boxes[0, 3:].numpy().any()


def test_the_score_must_exceed_the_threshold():
    boxes = CLUSTERS[[0, 3, 5]]
    assert kept(suppress(boxes, [0.25, 0.5, 0.75], score_threshold=0.5)) == [(2, 0)]


def test_the_iou_may_equal_the_threshold():
    """The first two boxes have an IoU of exactly one half."""
    boxes = [[0.0, 0, 2, 1], [0, 0, 1, 1]]
    assert kept(suppress(boxes, [0.9, 0.8], iou_threshold=0.5)) == [(0, 0), (1, 0)]
    assert kept(suppress(boxes, [0.9, 0.8], iou_threshold=0.499)) == [(0, 0)]


def test_a_suppressed_box_suppresses_nothing():
    """1 overlaps 0 and 2, but 2 does not overlap 0: 2 stays although 1 was better."""
    boxes = [[0.0, 0, 1, 1], [0, 0.3, 1, 1.3], [0, 0.6, 1, 1.6]]
    assert kept(suppress(boxes, [0.9, 0.8, 0.7], iou_threshold=0.4)) == [(0, 0), (2, 0)]


@EVERY_WAY
def test_classes_do_not_disturb_each_other():
    scores = np.stack([CLUSTER_SCORES, CLUSTER_SCORES[::-1]], axis=1)
    result = suppress(CLUSTERS, scores)
    # Class 1 has the same scores backwards: rows 2, 5 and 4 are its best.
    assert kept(result) == [(3, 0), (2, 1), (0, 0), (5, 1), (4, 1), (5, 0)]


@EVERY_WAY
def test_each_class_may_have_its_own_boxes():
    """The two classes' boxes coincide in one class and are far apart in the other."""
    boxes = np.array([[[0.0, 0, 1, 1], [0, 0, 1, 1]], [[0, 0, 1, 1], [5, 5, 6, 6]]], np.float32)
    result = suppress(boxes, [[0.9, 0.8], [0.7, 0.6]])
    assert kept(result) == [(0, 0), (0, 1), (1, 1)]
    np.testing.assert_array_equal(result.boxes[0, 2], [5, 5, 6, 6])


def test_caps():
    scores = np.stack([CLUSTER_SCORES, CLUSTER_SCORES - 0.2], axis=1)
    result = suppress(CLUSTERS, scores, max_size_per_class=2)
    assert kept(result) == [(3, 0), (0, 0), (3, 1), (0, 1)]
    result = suppress(CLUSTERS, scores, max_total_size=3)
    assert result.boxes.shape == (1, 3, 4)
    assert kept(result) == [(3, 0), (0, 0), (3, 1)]


@EVERY_WAY
def test_clipping_comes_after_suppression_and_before_the_total_cap():
    """Row 0 suppresses row 1 with all of its area, then vanishes with what is outside."""
    boxes = [[0.0, -4, 1, 0], [0, -4, 1, 0.5], [0, 2, 1, 6], [0, 8, 1, 9]]
    window = tf.constant([[0.0, 0, 1, 4]])
    result = suppress(boxes, [0.9, 0.8, 0.7, 0.6], max_total_size=1, clip_window=window)
    assert kept(result) == [(2, 0)]
    np.testing.assert_array_equal(result.boxes[0], [[0, 2, 1, 4]])


def test_the_window_becomes_the_frame():
    result = suppress(
        [[0.0, 0, 10, 10]],
        [0.5],
        clip_window=tf.constant([2.0, 0, 6, 20]),
        change_coordinate_frame=True,
    )
    np.testing.assert_allclose(result.boxes[0, 0], [0, 0, 1, 0.5])


def test_without_a_window_empty_boxes_stay():
    assert kept(suppress([[1.0, 1, 1, 1]], [0.5])) == [(0, 0)]


@EVERY_WAY
def test_padding_never_takes_part():
    boxes = np.repeat(CLUSTERS[np.newaxis, :, np.newaxis], 3, axis=0)
    scores = np.repeat(CLUSTER_SCORES[np.newaxis, :, np.newaxis], 3, axis=0)
    result = nms.batch_multiclass_nms(
        tf.constant(boxes),
        tf.constant(scores),
        score_threshold=0.0,
        iou_threshold=0.5,
        max_size_per_class=6,
        max_total_size=6,
        num_valid_boxes=tf.constant([3, 0, 6]),
    )
    assert result.num_detections.numpy().tolist() == [1, 0, 3]
    assert kept(result, 0) == [(0, 0)]
    assert kept(result, 2) == [(3, 0), (0, 0), (5, 0)]
    for tensor in (result.boxes, result.scores, result.indices):
        assert not tensor[1].numpy().any()


def test_equal_scores_go_by_class_then_by_row():
    boxes = CLUSTERS[[0, 3, 5]]
    scores = [[0.5, 0.5], [0.25, 0.5], [0.5, 0.75]]
    assert kept(suppress(boxes, scores)) == [(2, 1), (0, 0), (2, 0), (0, 1), (1, 1), (1, 0)]


def test_equal_boxes_keep_their_own_rows():
    result = suppress(np.repeat(CLUSTERS[:1], 3, axis=0), [0.5, 0.5, 0.5], iou_threshold=1.0)
    assert kept(result) == [(0, 0), (1, 0), (2, 0)]


def test_additional_fields_follow_their_rows():
    fields = {
        "logits": tf.reshape(tf.range(12.0), [1, 6, 2]),
        "ids": tf.range(10, 16)[tf.newaxis],
        "masks": tf.ones([1, 6, 2, 3], tf.bool),
    }
    result = suppress(CLUSTERS, CLUSTER_SCORES, max_total_size=4, additional_fields=fields)
    np.testing.assert_array_equal(
        result.additional_fields["logits"], [[[6, 7], [0, 1], [10, 11], [0, 0]]]
    )
    np.testing.assert_array_equal(result.additional_fields["ids"], [[13, 10, 15, 0]])
    assert result.additional_fields["masks"].numpy().any(axis=(2, 3)).tolist() == [
        [True, True, True, False]
    ]


def test_nan_scores_are_never_detected():
    scores = [0.9, float("nan"), 0.8, 0.7, float("nan"), float("nan")]
    assert kept(suppress(CLUSTERS, scores)) == [(0, 0), (3, 0)]


def test_negative_scores_can_pass_a_lower_threshold():
    result = suppress(CLUSTERS, CLUSTER_SCORES - 5, score_threshold=-4.2)
    assert kept(result) == [(3, 0), (0, 0)]


def test_soft_suppression_lowers_scores():
    """The second box overlaps the first by one third, so exp(-(1/3)^2 / (2 * 0.5)) is left."""
    boxes = [[0.0, 0, 1, 2], [0, 1, 1, 3], [0, 9, 1, 10]]
    result = suppress(boxes, [0.9, 0.8, 0.75], soft_nms_sigma=0.5)
    assert kept(result) == [(0, 0), (2, 0), (1, 0)]
    np.testing.assert_allclose(result.scores[0, :3], [0.9, 0.75, 0.8 * np.exp(-1 / 9)], rtol=1e-6)


def test_soft_suppression_drops_what_falls_to_the_threshold():
    boxes = [[0.0, 0, 1, 1], [0, 0, 1, 1]]
    result = suppress(boxes, [0.9, 0.8], score_threshold=0.3, soft_nms_sigma=0.5)
    assert kept(result) == [(0, 0)]  # 0.8 * exp(-1) = 0.294
    result = suppress(boxes, [0.9, 0.8], soft_nms_sigma=1e-4)  # the factor underflows to 0
    assert kept(result) == [(0, 0)]


def test_class_agnostic_boxes_compete_across_classes():
    boxes = CLUSTERS[:, np.newaxis][np.newaxis]
    scores = np.stack([CLUSTER_SCORES, CLUSTER_SCORES[::-1]], axis=1)[np.newaxis]
    arguments = {"score_threshold": 0.4, "iou_threshold": 0.5, "max_total_size": 5}
    one = nms.batch_class_agnostic_nms(tf.constant(boxes), tf.constant(scores), **arguments)
    assert kept(one) == [(2, 1), (3, 0), (5, 1)]
    two = nms.batch_class_agnostic_nms(
        tf.constant(boxes), tf.constant(scores), max_classes_per_detection=2, **arguments
    )
    # Row 5 has only 0.3 for its second class, which is not reported.
    assert kept(two) == [(2, 1), (3, 0), (5, 1), (2, 0), (3, 1)]
    np.testing.assert_allclose(two.scores[0], [0.95, 0.95, 0.9, 0.6, 0.6])


def test_class_agnostic_takes_the_place_of_the_best_class():
    boxes = tf.constant([[[[0.0, 0, 1, 1], [5, 5, 6, 6]], [[0, 0, 1, 1], [7, 7, 8, 8]]]])
    scores = tf.constant([[[0.2, 0.9], [0.8, 0.1]]])
    result = nms.batch_class_agnostic_nms(
        boxes, scores, score_threshold=0.0, iou_threshold=0.5, max_total_size=3
    )
    assert kept(result) == [(0, 1), (1, 0)]
    np.testing.assert_array_equal(result.boxes[0, :2], [[5, 5, 6, 6], [0, 0, 1, 1]])


def test_class_agnostic_edges():
    """More requested classes than exist; no row; scores that are not numbers; padding."""

    def run(scores, **arguments):
        scores = tf.constant(scores)
        return nms.batch_class_agnostic_nms(
            tf.constant(CLUSTERS[np.newaxis, : scores.shape[1], np.newaxis]),
            scores,
            score_threshold=0.0,
            iou_threshold=0.5,
            max_total_size=3,
            max_classes_per_detection=9,
            additional_fields={"scores": scores},
            **arguments,
        )

    nan = float("nan")
    result = run([[[nan, 0.5], [0.4, 0.6], [nan, nan], [0.1, 0.3]]])
    assert kept(result) == [(1, 1), (1, 0), (3, 1)]
    assert kept(run([[[nan, 0.5], [0.4, 0.6]]], num_valid_boxes=tf.constant([1]))) == [(0, 1)]
    assert kept(run(np.zeros([1, 0, 2], np.float32))) == []
