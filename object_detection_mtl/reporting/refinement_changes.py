"""Detections that the refinement repaired or broke, by main and refined scores.

The truth of a detection is the class of the object that it overlaps most with at least the IoU
threshold, else background. The decision of a head is its best class if the score reaches the
minimum, else background. A detection is repaired if the refined decision is true and the main one
is not, and broken if it is the other way round.

Shape letters: N detections of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage

BACKGROUND_CLASS = 0


@dataclass(frozen=True)
class RefinedDetection:
    """One detection for which exactly one of the two heads is right.

    Attributes:
        image: index of the image.
        row: index of the detection in its image.
        true_class: BACKGROUND_CLASS for none.
        main_class, main_score: class and score of the main head.
        refined_class, refined_score: class and score of the refinement.
    """

    image: int
    row: int
    true_class: int
    main_class: int
    main_score: float
    refined_class: int
    refined_score: float


@dataclass(frozen=True)
class RefinementChanges:
    """Detections that the refinement changed.

    Attributes:
        repaired, broken: detections, greatest change of the score first.
        main_scores, refined_scores: [N], of all detections with both scores.
        outcomes: [N], 1 for a repaired detection, -1 for a broken one, else 0.
    """

    repaired: list[RefinedDetection]
    broken: list[RefinedDetection]
    main_scores: np.ndarray
    refined_scores: np.ndarray
    outcomes: np.ndarray

    @property
    def num_detections(self) -> int:
        """Number of detections with both scores."""
        return len(self.outcomes)


def refinement_changes(
    images: Sequence[EvaluatedImage], *, min_score: float = 0.5, iou_threshold: float = 0.5
) -> RefinementChanges | None:
    """Return the changes over all images with main scores; None without such an image."""
    repaired: list[RefinedDetection] = []
    broken: list[RefinedDetection] = []
    columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, image in enumerate(images):
        main = image.main_branch
        if main is None:
            continue
        found = image.detections
        true = _true_classes(image, iou_threshold)
        before = np.where(main.scores >= min_score, main.classes, BACKGROUND_CLASS) == true
        after = np.where(found.scores >= min_score, found.classes, BACKGROUND_CLASS) == true
        columns.append((main.scores, found.scores, after.astype(int) - before.astype(int)))
        for row in np.flatnonzero(before != after):
            changed = RefinedDetection(
                number,
                int(row),
                int(true[row]),
                int(main.classes[row]),
                float(main.scores[row]),
                int(found.classes[row]),
                float(found.scores[row]),
            )
            (repaired if after[row] else broken).append(changed)
    if not columns:
        return None
    for rows in (repaired, broken):
        rows.sort(key=lambda item: -abs(item.refined_score - item.main_score))
    return RefinementChanges(repaired, broken, *map(np.concatenate, zip(*columns, strict=True)))


def _true_classes(image: EvaluatedImage, iou_threshold: float) -> np.ndarray:
    truth = image.groundtruth
    if not len(truth.classes):
        return np.full(len(image.detections.scores), BACKGROUND_CLASS)
    overlap = box_overlaps.iou(image.detections.boxes, truth.boxes)
    best = overlap.argmax(axis=1)
    enough = overlap[np.arange(len(best)), best] >= iou_threshold
    return np.where(enough, truth.classes[best], BACKGROUND_CLASS)
