"""What kind of mistake a detector makes: the five kinds into which the MTL-SSL paper sorts them.

One definition, for detections with a score of at least `min_score`, best score first within an
image. "Overlap" is IoU.

1. The object of its own class that the detection overlaps most is overlapped by at least the
   matching threshold (0.5). If no better-scored detection took that object, it is found: a TRUE
   POSITIVE. Otherwise the detection is a REDUNDANCY error (a duplicate).
2. Else look at the object of any class that it overlaps most. Overlap below the background
   threshold (0.1): a BACKGROUND error. An object of another class: a CLASSIFICATION error. An
   object of its own class, found too inaccurately: a LOCALIZATION error.
3. An object that no true positive found is a FALSE NEGATIVE, whatever else was said about it.

So true positives and the first four kinds partition the detections; true positives and false
negatives partition the objects. Difficult objects, crowds and groups are not asked for: a detection
that matches one of its class by rule 1, or lies with at least half of its area inside a crowd or
group of its class, is left out unless it is a true positive.

Shape letters: G ground-truth boxes and D detections of one image.
"""

from collections.abc import Sequence

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.evaluator import (
    CategoryLike,
    DetectionEvaluator,
    ImageDetections,
    ImageGroundtruth,
)

TRUE_POSITIVE = "TruePositive"
LOCALIZATION = "Localisation"
CLASSIFICATION = "Classification"
REDUNDANCY = "Redundancy"
BACKGROUND = "Background"
FALSE_NEGATIVE = "FalseNegative"

KINDS = (TRUE_POSITIVE, LOCALIZATION, CLASSIFICATION, REDUNDANCY, BACKGROUND, FALSE_NEGATIVE)

_IGNORED = -1


def _best(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row of `table` [D, G] its best column and the value there (0 if there is no column)."""
    if table.shape[1] == 0:
        return np.zeros(len(table), dtype=np.int64), np.zeros(len(table))
    best = np.argmax(table, axis=1)
    return best, table[np.arange(len(table)), best]


def classify_errors(
    groundtruth: ImageGroundtruth,
    detections: ImageDetections,
    *,
    matching_iou_threshold: float = 0.5,
    background_iou_threshold: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of the detections and of the objects of one image, by the rules of this module.

    Returns:
      [D] int, index into KINDS of each detection in the order given, -1 where it is left out; and
      [G] bool, which objects are false negatives.
    """
    wanted = ~(groundtruth.difficult | groundtruth.is_crowd | groundtruth.group_of)
    own_class = detections.classes[:, np.newaxis] == groundtruth.classes
    overlap = box_overlaps.iou(detections.boxes, groundtruth.boxes)

    own, own_overlap = _best(np.where(own_class, overlap, 0.0))
    matched = own_overlap >= matching_iou_threshold
    matched_wanted = np.zeros(len(matched), dtype=bool)
    matched_wanted[matched] = wanted[own[matched]]
    # An object of the own class wins a tie with one of another class.
    _, any_overlap = _best(np.where(wanted, overlap, 0.0))
    _, own_wanted_overlap = _best(np.where(own_class & wanted, overlap, 0.0))
    names = np.select(
        [matched, any_overlap < background_iou_threshold, own_wanted_overlap < any_overlap],
        [KINDS.index(REDUNDANCY), KINDS.index(BACKGROUND), KINDS.index(CLASSIFICATION)],
        default=KINDS.index(LOCALIZATION),
    )

    claims = np.flatnonzero(matched_wanted)
    claims = claims[np.argsort(-detections.scores[claims], kind="stable")]
    found, first = np.unique(own[claims], return_index=True)
    area_like = groundtruth.is_crowd | groundtruth.group_of
    inside = box_overlaps.covered_fraction(detections.boxes, groundtruth.boxes[area_like])
    swallowed = np.any((inside >= 0.5) & own_class[:, area_like], axis=1)
    names[(matched & ~matched_wanted) | swallowed] = _IGNORED
    names[claims[first]] = KINDS.index(TRUE_POSITIVE)

    missed = wanted.copy()
    missed[found] = False
    return names, missed


class ErrorAnalysis(DetectionEvaluator):
    """Counts of the five kinds of errors, over all images and by category.

    Args:
      categories: the classes.
      min_score: detections below are not looked at. The kinds only mean something at the score from
        which on a user would believe a detection.
      matching_iou_threshold, background_iou_threshold: see the module.
    """

    def __init__(
        self,
        categories: Sequence[CategoryLike],
        *,
        min_score: float = 0.5,
        matching_iou_threshold: float = 0.5,
        background_iou_threshold: float = 0.1,
    ):
        super().__init__(categories)
        if not 0 < background_iou_threshold <= matching_iou_threshold <= 1:
            raise ValueError(
                "Expected 0 < background_iou_threshold <= matching_iou_threshold <= 1, got "
                f"{background_iou_threshold} and {matching_iou_threshold}."
            )
        self._min_score = min_score
        self._matching_iou_threshold = matching_iou_threshold
        self._background_iou_threshold = background_iou_threshold

    def counts(self) -> dict[int, dict[str, int]]:
        """Category id -> kind -> number. A false negative counts for the object's category, every
        other kind for the category that the detector named."""
        table = np.zeros((max(self.names) + 1, len(KINDS)), dtype=np.int64)
        for groundtruth, detections in self._images():
            detections = detections.rows(detections.scores >= self._min_score)
            kinds, missed = classify_errors(
                groundtruth,
                detections,
                matching_iou_threshold=self._matching_iou_threshold,
                background_iou_threshold=self._background_iou_threshold,
            )
            counted = kinds != _IGNORED
            np.add.at(table, (detections.classes[counted], kinds[counted]), 1)
            np.add.at(table, (groundtruth.classes[missed], KINDS.index(FALSE_NEGATIVE)), 1)
        return {i: dict(zip(KINDS, table[i].tolist(), strict=True)) for i in self.names}

    def evaluate(self) -> dict[str, float]:
        """`ErrorAnalysis/<kind>` for all categories, `ErrorAnalysis_ByCategory/<kind>/<name>`."""
        counts = self.counts()
        metrics = {
            f"ErrorAnalysis/{kind}": float(sum(count[kind] for count in counts.values()))
            for kind in KINDS
        }
        for category_id, name in self.names.items():
            for kind, count in counts[category_id].items():
                metrics[f"ErrorAnalysis_ByCategory/{kind}/{name}"] = float(count)
        return metrics
