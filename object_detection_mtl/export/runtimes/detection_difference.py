"""Difference of the detections of two models, as one number.

Shape letters: N M detections.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from object_detection_mtl.fields import Detections

# Minimum IoU of two detections of the same object.
_MIN_IOU = 0.5


def detection_difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> float:
    """Return how much the detections of a batch differ, the mean over its images.

    Each detection is paired with the one of its class that overlaps it most, from an IoU of 0.5. A
    pair agrees by its IoU times its lower score. The difference is 1 minus the agreement, relative
    to the higher scores of the pairs and the scores of detections without a pair: 0 for equal
    detections, 1 for nothing in common. Two empty images are equal. NaN if a value is not finite.
    """
    number = len(expected[Detections.num_detections])
    return float(np.mean([_image_difference(found, expected, image) for image in range(number)]))


def valid_detections(detections: Mapping[str, np.ndarray], image: int) -> list[np.ndarray]:
    """Return boxes, scores and classes of one image without padding."""
    number = int(detections[Detections.num_detections][image])
    keys = (Detections.boxes, Detections.scores, Detections.classes)
    return [np.asarray(detections[key][image][:number]) for key in keys]


def _image_difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], image: int
) -> float:
    boxes, scores, classes = valid_detections(expected, image)
    own_boxes, own_scores, own_classes = valid_detections(found, image)
    if not np.isfinite(own_boxes).all() or not np.isfinite(own_scores).all():
        return float("nan")
    overlaps = _ious(boxes, own_boxes) * (classes[:, None] == own_classes)
    agreement, total = 0.0, float(own_scores.sum())
    for row in np.argsort(-scores, kind="stable"):
        column = int(np.argmax(overlaps[row])) if len(own_scores) else -1
        if column < 0 or overlaps[row, column] < _MIN_IOU:
            total += scores[row]
            continue
        low, high = sorted((scores[row], own_scores[column]))
        agreement += overlaps[row, column] * low
        total += high - own_scores[column]
        overlaps[:, column] = 0.0  # Taken.
    return 1 - agreement / total if total > 0 else 0.0


def _ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the IoU [N, M] of boxes [N, 4] and [M, 4]; 0 for boxes without area."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(bottom_right - top_left, 0).prod(-1)
    areas = [np.maximum(each[:, 2:] - each[:, :2], 0).prod(-1) for each in (boxes, others)]
    union = areas[0][:, None] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
