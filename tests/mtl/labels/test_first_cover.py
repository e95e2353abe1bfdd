"""The first box that covers a cell, against looking at one box after the other."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.labels.foreground_masks import first_cover


def one_by_one(in_y, in_x, counts):
    place = np.full([in_y.shape[1], in_x.shape[1]], len(counts))
    for number in reversed(np.flatnonzero(counts)):
        place[np.outer(in_y[number], in_x[number])] = number
    return place


def test_by_hand():
    in_y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    in_x = np.array([[0, 1], [1, 1], [1, 0]], bool)
    found = first_cover(in_y, in_x, np.array([True, True, True]))
    np.testing.assert_array_equal(found, [[1, 0], [1, 1], [2, 3]])
    found = first_cover(in_y, in_x, np.array([True, False, True]))
    np.testing.assert_array_equal(found, [[2, 0], [2, 3], [2, 3]])


@pytest.mark.parametrize("number", [0, 1, 40, 1022, 1023, 2500])
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_any_number_of_boxes(number, share):
    """All of them at one place is the worst case for a sum of powers."""
    rng = np.random.default_rng(number)
    in_y, in_x = (rng.random([number, side]) < share for side in (5, 7))
    counts = rng.random(number) < 0.9
    expected = one_by_one(in_y, in_x, counts)
    np.testing.assert_array_equal(first_cover(in_y, in_x, counts), expected)
    static = tf.function(first_cover, jit_compile=True, autograph=False)
    np.testing.assert_array_equal(static(*map(tf.constant, (in_y, in_x, counts))), expected)


def test_a_batch_is_its_images():
    rng = np.random.default_rng(0)
    in_y, in_x = rng.random([2, 3, 9, 4]) < 0.4, rng.random([2, 3, 9, 6]) < 0.4
    counts = rng.random([2, 3, 9]) < 0.7
    found = first_cover(in_y, in_x, counts).numpy()
    for place in np.ndindex(2, 3):
        expected = one_by_one(in_y[place], in_x[place], counts[place])
        np.testing.assert_array_equal(found[place], expected)
