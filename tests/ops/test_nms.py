import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import lowering, nms
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes, random_boxes

LOWERINGS = {
    "kernel": contextlib.nullcontext,
    "loop": lowering.for_xla,
    "class by class": lowering.for_onnx,
}


@pytest.fixture(params=LOWERINGS.values(), ids=LOWERINGS.keys())
def every_way(request):
    """The test runs once for each implementation."""
    with request.param():
        yield


EVERY_WAY = pytest.mark.usefixtures("every_way")


# Three clusters: rows 0-2, rows 3-4 and row 5.
CLUSTERS = np.array(
    [
        [0, 0, 1, 1],
        [0, 0.1, 1, 1.1],
        [0, -0.1, 1, 0.9],
        [0, 10, 1, 11],
        [0, 10.1, 1, 11.1],
        [0, 100, 1, 101],
    ],
    np.float32,
)
CLUSTER_SCORES = np.array([0.9, 0.75, 0.6, 0.95, 0.5, 0.3], np.float32)


def suppress(boxes, scores, **arguments):
    """Suppression of one image's boxes [N, 4] or [N, K, 4] with scores [N] or [N, K]."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    boxes = boxes.reshape([1, len(boxes), -1, 4])
    scores = scores.reshape([1, len(scores), -1])
    arguments = {
        "score_threshold": 0.0,
        "iou_threshold": 0.5,
        "max_size_per_class": 10,
        "max_total_size": 10,
        **arguments,
    }
    return nms.batch_multiclass_nms(tf.constant(boxes), tf.constant(scores), **arguments)


def kept(result, image=0):
    """Rows and classes of one image's detections, in order."""
    number = int(result.num_detections[image])
    return list(
        zip(
            result.indices[image, :number].numpy().tolist(),
            result.classes[image, :number].numpy().astype(int).tolist(),
            strict=True,
        )
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
