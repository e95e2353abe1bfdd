"""Operations on lists of boxes; none changes its argument. Shape letters: N, M boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from object_detection_mtl.evaluation import pascal_voc
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.utils import np_box_ops
from object_detection_mtl.odapi.utils.np_box_list import BoxList

__getattr__ = missing_names.module_getattr(__name__)


def area(boxlist: BoxList) -> np.ndarray:
    """Return the areas [N]."""
    return np_box_ops.area(boxlist.get())


def intersection(boxlist1: BoxList, boxlist2: BoxList) -> np.ndarray:
    """Return the areas [N, M] of the intersections."""
    return np_box_ops.intersection(boxlist1.get(), boxlist2.get())


def iou(boxlist1: BoxList, boxlist2: BoxList) -> np.ndarray:
    """Return intersection over union [N, M]."""
    return np_box_ops.iou(boxlist1.get(), boxlist2.get())


def ioa(boxlist1: BoxList, boxlist2: BoxList) -> np.ndarray:
    """Return the fraction [N, M] of the area of `boxlist2` inside `boxlist1`."""
    return np_box_ops.ioa(boxlist1.get(), boxlist2.get())


def gather(boxlist: BoxList, indices: Any, fields: list[str] | None = None) -> BoxList:
    """Return some rows.

    Args:
        boxlist: the boxes.
        indices: row numbers.
        fields: names of the further fields to keep; None for all.
    """
    indices = np.asarray(indices, np.int64).reshape(-1)
    return _with_boxes(boxlist, boxlist.get()[indices], indices, fields)


def _with_boxes(
    boxlist: BoxList, boxes: np.ndarray, rows: Any, fields: list[str] | None = None
) -> BoxList:
    """Return a list with other boxes, and the rows `rows` of the further fields."""
    made = BoxList(boxes)
    for name in boxlist.get_extra_fields() if fields is None else fields:
        made.add_field(name, boxlist.get_field(name)[rows])
    return made


def sort_by_field(boxlist: BoxList, field: str, order: int = 1) -> BoxList:
    """Return the rows sorted by a field, in descending order (1) or ascending order (2)."""
    values = boxlist.get_field(field)
    return gather(boxlist, np.argsort(values if order == 2 else -values, kind="stable"))


def clip_to_window(boxlist: BoxList, window: Any) -> BoxList:
    """Return the boxes clipped to a window [4], without those outside it."""
    window = np.asarray(window, boxlist.get().dtype)
    low, high = np.tile(window[:2], 2), np.tile(window[2:], 2)
    clipped = _with_boxes(boxlist, np.clip(boxlist.get(), low, high), slice(None))
    return gather(clipped, np.flatnonzero(area(clipped) > 0))


def filter_scores_greater_than(boxlist: BoxList, thresh: float) -> BoxList:
    """Return the rows whose field `scores` is greater than a threshold."""
    scores = boxlist.get_field("scores").reshape(boxlist.num_boxes())
    return gather(boxlist, np.flatnonzero(scores > thresh))


def non_max_suppression(
    boxlist: BoxList,
    max_output_size: int = 10000,
    iou_threshold: float = 1.0,
    score_threshold: float = -10.0,
) -> BoxList:
    """Return the best rows, by the field `scores`, that do not overlap.

    Args:
        boxlist: the boxes.
        max_output_size: maximum number of rows.
        iou_threshold: maximum overlap with a better box.
        score_threshold: rows with a lower score are dropped.
    """
    boxlist = sort_by_field(filter_scores_greater_than(boxlist, score_threshold), "scores")
    count = boxlist.num_boxes()
    # The rows are the classes' scores, so that they can be recognized in the result.
    found = pascal_voc.suppress(
        ImageDetections(boxlist.get(), -np.arange(count), np.zeros(count, np.int64)), iou_threshold
    )
    return gather(boxlist, -found.scores[:max_output_size])


def change_coordinate_frame(boxlist: BoxList, window: Any) -> BoxList:
    """Return the boxes relative to a window [4]."""
    window = np.asarray(window, np.float64)
    sides = np.tile(window[2:] - window[:2], 2)
    boxes = (boxlist.get() - np.tile(window[:2], 2)) / sides
    return _with_boxes(boxlist, boxes.astype(boxlist.get().dtype), slice(None))


def scale(boxlist: BoxList, y_scale: float, x_scale: float) -> BoxList:
    """Return the boxes multiplied by a factor for each axis."""
    factors = np.array([y_scale, x_scale] * 2, boxlist.get().dtype)
    return _with_boxes(boxlist, boxlist.get() * factors, slice(None))
