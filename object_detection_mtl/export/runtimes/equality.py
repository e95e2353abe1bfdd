"""Whether an engine finds what TensorFlow finds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from object_detection_mtl.fields import Detections

# Of scores, and of boxes as fractions of the picture.
TOLERANCE = 1e-3


def why_different(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> str:
    """What tells the detections of a batch from those expected; empty if nothing does.

    Equal are detections of one class whose boxes and scores differ by no more than `tolerance`.
    Where a picture has as many as there can be, one that near to the last may have made room for
    another.
    """
    pictures = len(expected[Detections.num_detections])
    reasons = (_why_picture_differs(found, expected, i, tolerance) for i in range(pictures))
    return next((reason for reason in reasons if reason), "")


def _why_picture_differs(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    picture: int,
    tolerance: float,
) -> str:
    keys = (Detections.boxes, Detections.scores, Detections.classes)
    number = int(expected[Detections.num_detections][picture])
    boxes, scores, classes = (np.asarray(expected[key][picture][:number]) for key in keys)
    number = int(found[Detections.num_detections][picture])
    own_boxes, own_scores, own_classes = (np.asarray(found[key][picture][:number]) for key in keys)
    if not np.isfinite(own_boxes).all() or not np.isfinite(own_scores).all():
        return "boxes or scores are not numbers"
    is_free = np.ones(number, bool)
    is_full = number == len(found[Detections.scores][picture])
    last = (own_scores[-1] if is_full else 0.0) + 2 * tolerance
    for box, score, label in zip(boxes, scores, classes, strict=True):
        same = is_free & (own_classes == label) & (np.abs(own_scores - score) <= tolerance)
        same &= np.abs(own_boxes - box).max(axis=-1, initial=0.0) <= tolerance
        if same.any():
            is_free[np.argmax(same)] = False
        elif score > last:
            return f"it lacks class {label:g} with score {score:.4f} at {np.round(box, 3)}"
    extra = is_free & (own_scores > last)
    if extra.any():
        first = int(np.argmax(extra))
        return f"it has class {own_classes[first]:g} with score {own_scores[first]:.4f} besides"
    return ""
