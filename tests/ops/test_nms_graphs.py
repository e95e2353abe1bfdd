"""Suppression in graphs, against a reference, and wrong arguments."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import lowering, nms
from tests.ops.graphs import call_with_unknown_sizes, random_boxes
from tests.ops.nms_cases import (
    CLUSTERS,
    EVERY_WAY,
    LOWERINGS,
    kept,
)


@EVERY_WAY
@pytest.mark.parametrize(("batch", "rows"), [(0, 3), (2, 0)])
def test_nothing_in_nothing_out(batch, rows):
    result = nms.batch_multiclass_nms(
        tf.zeros([batch, rows, 1, 4]),
        tf.zeros([batch, rows, 2]),
        score_threshold=0.0,
        iou_threshold=0.5,
        max_size_per_class=3,
        max_total_size=5,
        clip_window=tf.ones([batch, 4]),
        additional_fields={"masks": tf.ones([batch, rows, 7], tf.bool)},
    )
    assert result.additional_fields["masks"].shape == (batch, 5, 7)
    assert result.boxes.shape == (batch, 5, 4)
    assert not result.num_detections.numpy().any()


@EVERY_WAY
def test_a_graph_without_known_sizes_gives_the_same():
    rng = np.random.RandomState(0)
    boxes, scores = random_boxes(rng, 2, 30, 3), rng.rand(2, 30, 3).astype(np.float32)
    window = np.array([[0, 0, 1, 1], [0.2, 0.2, 0.7, 0.9]], np.float32)

    def run(boxes, scores, window):
        return nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=0.1,
            iou_threshold=0.4,
            max_size_per_class=40,
            max_total_size=50,
            clip_window=window,
            change_coordinate_frame=True,
        )

    expected = run(tf.constant(boxes), tf.constant(scores), tf.constant(window))
    # The number of classes stays known, as it always is.
    actual = call_with_unknown_sizes(run, boxes, scores, window, known_axes=1)
    for name in ("boxes", "scores", "classes", "num_detections", "indices"):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))


def test_static_shapes_in_a_graph():
    @tf.function(autograph=False)
    def run(boxes, scores):
        result = nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=0.0,
            iou_threshold=0.5,
            max_size_per_class=3,
            max_total_size=5,
            additional_fields={"scores": scores},
        )
        assert result.boxes.shape == (2, 5, 4)
        assert result.scores.shape == result.classes.shape == result.indices.shape == (2, 5)
        assert result.num_detections.shape == (2,)
        assert result.additional_fields["scores"].shape == (2, 5, 7)
        return result.num_detections

    run(tf.zeros([2, 9, 1, 4]), tf.zeros([2, 9, 7]))


def test_xla_compiles_the_loop():
    rng = np.random.RandomState(3)
    boxes = tf.constant(random_boxes(rng, 2, 12, 1))
    scores = tf.constant(rng.rand(2, 12, 2).astype(np.float32))

    def run(boxes, scores):
        return nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=0.2,
            iou_threshold=0.3,
            max_size_per_class=4,
            max_total_size=6,
            clip_window=tf.constant([0.0, 0, 1, 1]),
        )[:5]

    with lowering.for_xla():
        compiled = tf.function(run, jit_compile=True, autograph=False)(boxes, scores)
    for actual, expected in zip(compiled, run(boxes, scores), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_no_gradient_flows():
    boxes, scores = (
        tf.constant(CLUSTERS[np.newaxis, :, np.newaxis]),
        tf.Variable(tf.ones([1, 6, 1])),
    )
    with tf.GradientTape() as tape:
        result = nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=0.0,
            iou_threshold=0.5,
            max_size_per_class=3,
            max_total_size=3,
        )
        total = tf.reduce_sum(result.scores)
    assert tape.gradient(total, scores) is None


def reference(boxes, scores, score_threshold, iou_threshold, per_class, total, window):
    """The documented semantics of one image, literally: (score, class, row) of each detection."""
    found = []
    for klass in range(scores.shape[1]):
        taken = []
        for row in np.argsort(-scores[:, klass], kind="stable"):
            if not scores[row, klass] > score_threshold or len(taken) == per_class:
                break
            box = boxes[row, klass % boxes.shape[1]]
            if all(_iou(box, other) <= iou_threshold for _, other in taken):
                taken.append((row, box))
        for row, box in taken:
            sides = np.minimum(box[2:], window[2:]) - np.maximum(box[:2], window[:2])
            if (sides > 0).all():
                found.append((-scores[row, klass], klass, row))
    return sorted(found, key=lambda item: item[0])[:total]


def _iou(box1, box2):
    sides = np.minimum(box1[2:], box2[2:]) - np.maximum(box1[:2], box2[:2])
    shared = np.prod(np.maximum(sides, 0))
    union = np.prod(box1[2:] - box1[:2]) + np.prod(box2[2:] - box2[:2]) - shared
    return shared / union if union > 0 else 0.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 14),
    own_boxes=st.booleans(),
    per_class=st.integers(1, 6),
    total=st.integers(1, 12),
    way=st.sampled_from(sorted(LOWERINGS)),
)
def test_equals_the_documented_semantics(seed, rows, own_boxes, per_class, total, way):
    """On a small grid, where equal scores, equal boxes, empty boxes and exact IoUs are common."""
    rng = np.random.RandomState(seed)
    corner = rng.randint(0, 4, (rows, 3 if own_boxes else 1, 2))
    boxes = np.concatenate([corner, corner + rng.randint(0, 3, corner.shape)], -1)
    boxes = boxes.astype(np.float32)
    scores = rng.randint(0, 5, (rows, 3)).astype(np.float32) / 4
    window = np.array([1, 0, 5, 3], np.float32)
    with LOWERINGS[way]():
        result = nms.batch_multiclass_nms(
            tf.constant(boxes[np.newaxis]),
            tf.constant(scores[np.newaxis]),
            score_threshold=0.1,
            iou_threshold=0.5,
            max_size_per_class=per_class,
            max_total_size=total,
            clip_window=tf.constant(window),
        )
    expected = reference(boxes, scores, 0.1, 0.5, per_class, total, window)
    assert kept(result) == [(row, klass) for _, klass, row in expected]
    np.testing.assert_allclose(
        result.scores[0, : len(expected)], [-score for score, _, _ in expected]
    )


@pytest.mark.parametrize(
    ("boxes_shape", "scores_shape", "arguments", "words"),
    [
        ((1, 3, 1, 4), (1, 3, 2), {"change_coordinate_frame": True}, "clip_window"),
        ((1, 3, 4), (1, 3, 2), {}, r"\(1, 3, 4\)"),
        ((1, 3, 3, 4), (1, 3, 2), {}, "3 boxes per candidate"),
    ],
)
def test_wrong_arguments(boxes_shape, scores_shape, arguments, words):
    with pytest.raises(ValueError, match=words):
        nms.batch_multiclass_nms(
            tf.zeros(boxes_shape),
            tf.zeros(scores_shape),
            score_threshold=0.0,
            iou_threshold=0.5,
            max_size_per_class=1,
            max_total_size=1,
            **arguments,
        )
