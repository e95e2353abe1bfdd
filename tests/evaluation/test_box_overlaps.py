import numpy as np
import pytest

from object_detection_mtl.evaluation import box_overlaps

BOXES = np.array([[0, 0, 2, 2], [0, 0, 4, 4], [5, 5, 6, 6]], np.float32)


def test_iou_of_hand_worked_boxes():
    expected = [[1, 4 / 16, 0], [4 / 16, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(box_overlaps.iou(BOXES, BOXES), expected, atol=1e-12)


def test_covered_fraction_is_relative_to_the_first_boxes():
    expected = [[1, 1, 0], [4 / 16, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(box_overlaps.covered_fraction(BOXES, BOXES), expected, atol=1e-12)


def test_boxes_that_touch_do_not_overlap():
    assert box_overlaps.intersection(np.array([[0.0, 0, 1, 1]]), np.array([[0.0, 1, 1, 2]])) == 0


@pytest.mark.parametrize("empty", [[1, 1, 1, 1], [3, 3, 1, 1], [1, 1, 3, 1]])
def test_empty_and_inverted_boxes_have_no_area_and_no_overlap(empty):
    empty = np.array([empty], np.float32)
    assert box_overlaps.area(empty) == 0
    np.testing.assert_array_equal(
        box_overlaps.iou(empty, np.concatenate([BOXES, empty])), [[0] * 4]
    )
    np.testing.assert_array_equal(box_overlaps.covered_fraction(empty, BOXES), [[0] * 3])


def test_no_boxes():
    none = np.zeros((0, 4), np.float32)
    assert box_overlaps.iou(none, BOXES).shape == (0, 3)
    assert box_overlaps.covered_fraction(BOXES, none).shape == (3, 0)
