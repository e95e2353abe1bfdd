"""Mistakes of a detector: counts by kind, the most confident ones, missed objects.

The kinds are those of the MTL-SSL paper, see `evaluation.error_analysis`.
Shape letters: N detections and M objects of all images, T thresholds, K classes, I images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.config.errors import counted
from object_detection_mtl.evaluation.error_analysis import FALSE_NEGATIVE, KINDS, TRUE_POSITIVE
from object_detection_mtl.reporting.breakdowns import SIZE_LABELS, sizes
from object_detection_mtl.reporting.object_matching import MatchTable

DETECTION_MISTAKES = tuple(kind for kind in KINDS if kind not in (TRUE_POSITIVE, FALSE_NEGATIVE))
KIND_NAMES = {
    "TruePositive": "true positive",
    "Localisation": "localization",
    "Classification": "classification",
    "Redundancy": "redundancy",
    "Background": "background",
    "FalseNegative": "missed object",
}
# Names of single detections and objects.
_KIND_NOUNS = KIND_NAMES | {
    "Localisation": "localization error",
    "Classification": "classification error",
    "Redundancy": "redundant detection",
    "Background": "background detection",
}


@dataclass(frozen=True)
class Mistake:
    """One wrong detection or missed object.

    Attributes:
        kind: one of `error_analysis.KINDS`.
        image: index of the image.
        class_id: class number of the detection, or of the missed object.
        score: score of the detection; NaN for a missed object.
        box: [4], box of the detection or the object.
    """

    kind: str
    image: int
    class_id: int
    score: float
    box: np.ndarray


def count_kinds(
    table: MatchTable, class_ids: Sequence[int], thresholds: Sequence[float]
) -> np.ndarray:
    """Return counts [T, K, 6] of `error_analysis.KINDS` at each minimum score.

    A false negative counts for the object's class, every other kind for the detected class.
    """
    counts = np.zeros((len(thresholds), len(class_ids), len(KINDS)), np.int64)
    missed = KINDS.index(FALSE_NEGATIVE)
    found_scores = table.found_scores()
    for column, class_id in enumerate(class_ids):
        rows = (table.classes == class_id) & ~table.ignored
        kinds, scores = table.kinds[rows], table.scores[rows]
        objects = table.counted & (table.object_classes == class_id)
        for number, threshold in enumerate(thresholds):
            counts[number, column] = np.bincount(kinds[scores >= threshold], minlength=len(KINDS))
            counts[number, column, missed] = np.count_nonzero(found_scores[objects] < threshold)
    return counts


def confident_mistakes(table: MatchTable, limit: int = 12) -> dict[str, list[Mistake]]:
    """Return the mistakes with the greatest scores, at most `limit` of each kind."""
    found = {}
    for kind in DETECTION_MISTAKES:
        rows = np.flatnonzero(table.kinds == KINDS.index(kind))
        rows = rows[np.argsort(-table.scores[rows], kind="stable")][:limit]
        found[kind] = [
            Mistake(
                kind,
                int(table.image[row]),
                int(table.classes[row]),
                float(table.scores[row]),
                table.boxes[row],
            )
            for row in rows
        ]
    return found


def missed_objects(
    table: MatchTable, min_score: float = 0.5, limit: int = 12
) -> dict[str, tuple[int, list[Mistake]]]:
    """Return size label -> number of objects missed at `min_score`, and the largest ones."""
    missed = table.counted & (table.found_scores() < min_score)
    groups = sizes(table.object_areas)
    found = {}
    for index, label in enumerate(SIZE_LABELS):
        rows = np.flatnonzero(missed & (groups == index))
        order = rows[np.argsort(-table.object_areas[rows], kind="stable")][:limit]
        found[label] = (
            len(rows),
            [
                Mistake(
                    FALSE_NEGATIVE,
                    int(table.object_image[row]),
                    int(table.object_classes[row]),
                    float("nan"),
                    table.object_boxes[row],
                )
                for row in order
            ],
        )
    return found


def image_losses(table: MatchTable, num_images: int, min_score: float = 0.5) -> np.ndarray:
    """Return the loss of each image, [I]: sum of the scores of mistakes, plus missed objects."""
    wrong = (table.scores >= min_score) & ~table.ignored & ~table.hits
    losses = np.bincount(table.image[wrong], table.scores[wrong], num_images)
    missed = table.counted & (table.found_scores() < min_score)
    return losses + np.bincount(table.object_image[missed], minlength=num_images)


def kinds_of_image(table: MatchTable, image: int, min_score: float = 0.5) -> dict[str, int]:
    """Return kind -> count in one image, of kinds that occur; true positives included."""
    rows = (table.image == image) & (table.scores >= min_score) & ~table.ignored
    counts = np.bincount(table.kinds[rows], minlength=len(KINDS))
    objects = (table.object_image == image) & table.counted
    counts[KINDS.index(FALSE_NEGATIVE)] = np.count_nonzero(
        table.found_scores()[objects] < min_score
    )
    return {kind: int(count) for kind, count in zip(KINDS, counts, strict=True) if count}


def describe_kinds(counts: Mapping[str, int]) -> list[str]:
    """Return "1 true positive", "2 missed objects" and so on for kind -> count."""
    return [counted(count, _KIND_NOUNS[kind]) for kind, count in counts.items()]
