"""Areas and overlaps of boxes in arrays. Shape letters: N, M boxes [ymin, xmin, ymax, xmax]."""

from __future__ import annotations

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas [N] of boxes [N, 4]."""
    return box_overlaps.area(np.asarray(boxes))


def intersection(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return the areas [N, M] of the intersections."""
    return box_overlaps.intersection(np.asarray(boxes1), np.asarray(boxes2))


def iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return intersection over union [N, M]."""
    return box_overlaps.iou(np.asarray(boxes1), np.asarray(boxes2))


def ioa(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return the fraction [N, M] of the area of `boxes2` that lies inside `boxes1`."""
    return box_overlaps.covered_fraction(np.asarray(boxes2), np.asarray(boxes1)).T
