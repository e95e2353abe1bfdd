"""Areas of unions against integers counted on a raster."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.labels import union_areas

SIDE = 48


def random_boxes(rng, number):
    corners = np.sort(rng.integers(0, SIDE + 1, [number, 2, 2]), axis=1)
    return corners.reshape(number, 4).astype(np.float64)


def painted(boxes, groups, windows, num_groups):
    """The same areas, counted: [W, num_groups]."""
    raster = np.zeros([num_groups, SIDE, SIDE], bool)
    for (top, left, bottom, right), group in zip(boxes.astype(int), groups, strict=True):
        raster[group, top:bottom, left:right] = True
    return np.array(
        [
            raster[:, top:bottom, left:right].sum(axis=(1, 2))
            for top, left, bottom, right in windows.astype(int)
        ]
    )


@pytest.mark.parametrize("number", [1, 2, 11, 12, 50, 200])
@pytest.mark.parametrize("num_groups", [1, 5])
def test_equal_to_counting(number, num_groups):
    rng = np.random.default_rng(number)
    boxes, windows = random_boxes(rng, number), random_boxes(rng, 20)
    groups = rng.integers(0, num_groups, number).astype(np.int32)
    groups[: number // 3] = 0  # as unequal as classes are
    union, found = union_areas.areas(
        tf.constant(boxes), tf.constant(groups), tf.constant(windows), num_groups=num_groups
    )
    np.testing.assert_array_equal(found, painted(boxes, groups, windows, num_groups))
    np.testing.assert_array_equal(union, painted(boxes, 0 * groups, windows, 1)[:, 0])


def test_no_box_no_window():
    none = tf.zeros([0, 4], tf.float64)
    window = tf.constant([[0.0, 0.0, 1.0, 1.0]], tf.float64)
    no_groups = tf.zeros([0], tf.int32)
    union, found = union_areas.areas(none, no_groups, window, num_groups=2)
    assert union.numpy().tolist() == [0]
    assert found.numpy().tolist() == [[0, 0]]
    union, found = union_areas.areas(window, tf.constant([0]), none, num_groups=2)
    assert union.shape == [0]
    assert found.shape == [0, 2]


def test_a_batch_is_its_images():
    rng = np.random.default_rng(0)
    boxes = np.stack([random_boxes(rng, 7) for _ in range(6)]).reshape(2, 3, 7, 4)
    windows = np.stack([random_boxes(rng, 3) for _ in range(6)]).reshape(2, 3, 3, 4)
    groups = rng.integers(0, 3, [2, 3, 7]).astype(np.int32)
    _, found = union_areas.areas(
        tf.constant(boxes), tf.constant(groups), tf.constant(windows), num_groups=3
    )
    found = found.numpy()
    for place in np.ndindex(2, 3):
        expected = painted(boxes[place], groups[place], windows[place], 3)
        np.testing.assert_array_equal(found[place], expected)


def test_a_fully_covered_window_is_covered_to_the_last_digits():
    """Under a square root, float32's 1e-7 of missing area would be a label of 3e-4."""
    cuts = np.linspace(0, 1, 30)
    tiles = np.stack([np.zeros(29), cuts[:-1], np.ones(29), cuts[1:]], axis=1)
    window = np.array([[0.1, 0.123, 0.7, 0.987]])
    union, found = union_areas.areas(
        tf.constant(tiles), tf.zeros([29], tf.int32), tf.constant(window), num_groups=1
    )
    np.testing.assert_allclose(found, [[0.6 * 0.864]], rtol=1e-14)
    np.testing.assert_allclose(union, [0.6 * 0.864], rtol=1e-14)
