import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops import boxes as box_ops
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes, random_boxes

CORNERS1 = tf.constant([[4.0, 3, 7, 5], [5, 6, 10, 7]])
CORNERS2 = tf.constant([[3.0, 4, 6, 8], [14, 14, 15, 15], [0, 0, 20, 20]])
EMPTY_BOX = tf.constant([[2.0, 3, 2, 3]])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@each_case("iou")
def test_iou_golden(case):
    close(box_ops.iou(case.inputs["boxes1"], case.inputs["boxes2"]), case.expected["iou"])


@each_case("clip_to_window")
def test_clip_to_window_golden(case):
    clipped = box_ops.clip_to_window(case.inputs["boxes"], case.inputs["window"])
    if case.params["filter_nonoverlapping"]:
        clipped = clipped[box_ops.area(clipped) > 0]
    close(clipped, case.expected["boxes"])


@each_case("prune_outside_window")
def test_is_inside_window_golden(case):
    inside = box_ops.is_inside_window(case.inputs["boxes"], case.inputs["window"])
    np.testing.assert_array_equal(np.flatnonzero(inside), case.expected["indices"])
    close(case.inputs["boxes"][inside.numpy()], case.expected["boxes"])


@each_case("change_coordinate_frame")
def test_change_coordinate_frame_golden(case):
    actual = box_ops.change_coordinate_frame(case.inputs["boxes"], case.inputs["window"])
    close(actual, case.expected["boxes"])


@each_case("flip_boxes_left_right")
def test_flip_left_right_golden(case):
    close(box_ops.flip_left_right(case.inputs["boxes"]), case.expected["boxes"])


def test_overlaps_by_hand():
    close(box_ops.area(CORNERS1), [6, 5])
    close(box_ops.intersection(CORNERS1, CORNERS2), [[2, 0, 6], [1, 0, 5]])
    close(box_ops.iou(CORNERS1, CORNERS2), [[2 / 16, 0, 6 / 400], [1 / 16, 0, 5 / 400]])


def test_empty_boxes_overlap_nothing():
    close(box_ops.iou(EMPTY_BOX, EMPTY_BOX), [[0]])


@pytest.mark.parametrize(
    ("shape1", "shape2"), [((0, 4), (3, 4)), ((3, 4), (0, 4)), ((2, 0, 4), (2, 0, 4))]
)
def test_no_box(shape1, shape2):
    expected = (*shape1[:-1], shape2[-2])
    assert box_ops.iou(tf.zeros(shape1), tf.zeros(shape2)).shape == expected


def test_a_batch_is_its_images_one_by_one():
    rng = np.random.RandomState(0)
    boxes1, boxes2 = random_boxes(rng, 3, 5), random_boxes(rng, 3, 4)
    batched = call_with_unknown_sizes(box_ops.iou, boxes1, boxes2)
    for image in range(3):
        close(batched[image], box_ops.iou(boxes1[image], boxes2[image]))


def test_one_set_of_anchors_broadcasts_over_the_batch():
    rng = np.random.RandomState(1)
    groundtruth, anchors = random_boxes(rng, 3, 2), random_boxes(rng, 6)
    close(box_ops.iou(groundtruth, anchors[np.newaxis])[2], box_ops.iou(groundtruth[2], anchors))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_iou_properties(seed):
    rng = np.random.RandomState(seed)
    boxes1, boxes2 = random_boxes(rng, 4), random_boxes(rng, 6)
    iou = box_ops.iou(boxes1, boxes2).numpy()
    assert (iou >= 0).all()
    assert (iou <= 1).all()
    close(iou.T, box_ops.iou(boxes2, boxes1))
    close(np.diag(box_ops.iou(boxes1, boxes1)), np.ones(4))
    close(iou, box_ops.iou(boxes1 * 64 + 5, boxes2 * 64 + 5))


def test_iou_gradient_is_finite_for_empty_boxes():
    boxes = tf.constant([[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        total = tf.reduce_sum(box_ops.iou(boxes, boxes))
    assert np.isfinite(tape.gradient(total, boxes)).all()


def test_windows_by_hand():
    window = tf.constant([0.0, 0, 10, 20])
    boxes = tf.constant(
        [
            [1.0, 2, 3, 4],
            [0, 0, 10, 20],
            [-1, 2, 3, 4],
            [-5, 3, 0, 6],
            [9, 19, 12, 22],
            [11, 1, 12, 2],
        ]
    )
    clipped = [
        [1, 2, 3, 4],
        [0, 0, 10, 20],
        [0, 2, 3, 4],
        [0, 3, 0, 6],
        [9, 19, 10, 20],
        [10, 1, 10, 2],
    ]
    close(box_ops.clip_to_window(boxes, window), clipped)
    inside = box_ops.is_inside_window(boxes, window).numpy().tolist()
    assert inside == [True, True, False, False, False, False]


def test_each_image_has_its_own_window():
    boxes = tf.tile(tf.constant([[[0.0, 0, 10, 10]]]), [2, 1, 1])
    windows = tf.constant([[0.0, 0, 4, 5], [2, 2, 20, 20]])
    clipped = call_with_unknown_sizes(box_ops.clip_to_window, boxes, windows)
    close(clipped, [[[0, 0, 4, 5]], [[2, 2, 10, 10]]])
    assert box_ops.is_inside_window(boxes, windows).numpy().tolist() == [[False], [False]]
    close(
        box_ops.change_coordinate_frame(boxes, windows),
        [[[0, 0, 2.5, 2]], [[-1 / 9, -1 / 9, 4 / 9, 4 / 9]]],
    )


def test_a_window_without_area_gives_no_infinite_box():
    boxes = tf.constant([[1.0, 1, 2, 2]])
    close(box_ops.change_coordinate_frame(boxes, tf.constant([1.0, 0, 1, 2])), [[0, 0.5, 0, 1]])


def test_scale():
    boxes = tf.constant([[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.5, 1, 1]]])
    close(box_ops.scale(boxes, 10, 100.0), [[[1, 20, 3, 40]], [[5, 50, 10, 100]]])
    per_image = box_ops.scale(boxes, tf.constant([10, 20]), tf.constant([1.0, 2]))
    close(per_image, [[[1, 0.2, 3, 0.4]], [[10, 1, 20, 2]]])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_frames_and_flips_undo_themselves(seed):
    rng = np.random.RandomState(seed)
    boxes, window = random_boxes(rng, 5), random_boxes(rng)
    there = box_ops.change_coordinate_frame(boxes, window)
    origin = tf.constant([0.0, 0, 1, 1])
    back = box_ops.change_coordinate_frame(
        there, box_ops.change_coordinate_frame(origin[tf.newaxis], window)[0]
    )
    np.testing.assert_allclose(back, boxes, atol=1e-3)
    close(box_ops.flip_left_right(box_ops.flip_left_right(boxes)), boxes)
    once = box_ops.clip_to_window(boxes, window)
    close(box_ops.clip_to_window(once, window), once)
