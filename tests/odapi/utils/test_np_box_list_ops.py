"""Boxes in arrays: lists, overlaps, suppression."""

import numpy as np
import pytest

from object_detection_mtl.odapi.utils import np_box_list_ops, np_box_ops
from object_detection_mtl.odapi.utils.np_box_list import BoxList

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)


@pytest.fixture
def boxes():
    made = BoxList(BOXES)
    made.add_field("scores", np.array([0.5, 0.9, 0.3]))
    return made


def test_fields(boxes):
    assert boxes.num_boxes() == 3
    assert boxes.get_extra_fields() == ["scores"]
    np.testing.assert_array_equal(boxes.get_coordinates()[2], [10, 10, 30])
    with pytest.raises(ValueError, match="exists already"):
        boxes.add_field("scores", np.zeros(3))
    with pytest.raises(ValueError, match="expected 3 rows"):
        boxes.add_field("classes", np.zeros(2))
    with pytest.raises(ValueError, match="the fields are boxes, scores"):
        boxes.get_field("class")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 5), np.float32), r"shape \[n, 4\]"),
        (np.zeros((2, 4), np.int64), "float32 or float64"),
        (np.array([[0.0, 5.0, 1.0, 4.0]]), "xmin <= xmax"),
    ],
)
def test_wrong_boxes(data, message):
    with pytest.raises(ValueError, match=message):
        BoxList(data)


def test_overlaps(boxes):
    iou = np_box_list_ops.iou(boxes, boxes)
    np.testing.assert_allclose(iou, np_box_ops.iou(BOXES, BOXES))
    assert iou[0, 1] == pytest.approx(0.9)
    assert np_box_ops.ioa(BOXES[1:2], BOXES[:1])[0, 0] == pytest.approx(0.9)
    assert np_box_ops.ioa(BOXES[:1], BOXES[1:2])[0, 0] == pytest.approx(1.0)
    np.testing.assert_allclose(np_box_list_ops.area(boxes), [100, 90, 100])
    np.testing.assert_allclose(np_box_list_ops.intersection(boxes, boxes)[0], [100, 90, 0])


def test_suppression(boxes):
    kept = np_box_list_ops.non_max_suppression(boxes, iou_threshold=0.5)
    np.testing.assert_array_equal(kept.get_field("scores"), [0.9, 0.3])
    np.testing.assert_array_equal(kept.get(), BOXES[[1, 2]])
    one = np_box_list_ops.non_max_suppression(boxes, max_output_size=1, score_threshold=0.4)
    np.testing.assert_array_equal(one.get(), BOXES[[1]])
    everything = np_box_list_ops.non_max_suppression(boxes)
    np.testing.assert_array_equal(everything.get_field("scores"), [0.9, 0.5, 0.3])


def test_filters_and_frames(boxes):
    above = np_box_list_ops.filter_scores_greater_than(boxes, 0.4)
    np.testing.assert_array_equal(above.get_field("scores"), [0.5, 0.9])
    clipped = np_box_list_ops.clip_to_window(boxes, [0, 0, 5, 5])
    np.testing.assert_array_equal(clipped.get(), [[0, 0, 5, 5]] * 2)
    moved = np_box_list_ops.change_coordinate_frame(boxes, [0, 0, 20, 10])
    np.testing.assert_allclose(moved.get()[0], [0, 0, 0.5, 1])
    scaled = np_box_list_ops.scale(boxes, 2, 3)
    np.testing.assert_allclose(scaled.get()[0], [0, 0, 20, 30])
    assert scaled.get_extra_fields() == ["scores"]
    ascending = np_box_list_ops.sort_by_field(boxes, "scores", order=2)
    np.testing.assert_array_equal(ascending.get_field("scores"), [0.3, 0.5, 0.9])
