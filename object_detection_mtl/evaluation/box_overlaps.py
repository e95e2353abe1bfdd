"""Box overlaps in numpy, for metrics outside the TensorFlow graph.

Shape letters: N, M boxes. Boxes are [ymin, xmin, ymax, xmax]; any unit, the same for both sides.
"""

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas [N] float64 of `boxes` [N, 4]; 0 for an empty or inverted box."""
    sides = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def intersection(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection areas [N, M] float64 of `boxes` [N, 4] and `others` [M, 4]."""
    boxes = boxes.astype(np.float64)[:, np.newaxis]
    others = others.astype(np.float64)[np.newaxis]
    sides = np.minimum(boxes[..., 2:], others[..., 2:]) - np.maximum(
        boxes[..., :2], others[..., :2]
    )
    sides = np.maximum(sides, 0.0)
    return sides[..., 0] * sides[..., 1]


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union [N, M] float64, in [0, 1]; 0 where both boxes are empty."""
    common = intersection(boxes, others)
    union = area(boxes)[:, np.newaxis] + area(others)[np.newaxis] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def covered_fraction(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the area fraction [N, M] of each of `boxes` [N, 4] inside each of `others` [M, 4]."""
    common = intersection(boxes, others)
    areas = np.broadcast_to(area(boxes)[:, np.newaxis], common.shape)
    return np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
