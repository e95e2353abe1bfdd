"""Detection error analysis: the five error types of the MTL-SSL paper.

The analysis covers detections with a score of at least `min_score`, in descending score order
within an image. "Overlap" is IoU.

1. Take the object of the detection's class with the highest overlap. If the overlap reaches the
   matching threshold (0.5), the detection with the highest score for this object is a TRUE
   POSITIVE; every further one is a REDUNDANCY error (a duplicate).
2. Otherwise take the object of any class with the highest overlap. Overlap below the background
   threshold (0.1): a BACKGROUND error. An object of another class: a CLASSIFICATION error. An
   object of the same class: a LOCALIZATION error.
3. An object without a true positive is a FALSE NEGATIVE.

True positives and the first four error types partition the detections; true positives and false
negatives partition the objects. Difficult objects, crowds and groups need not be detected: a
detection that matches one of its class by rule 1, or that has at least half of its area inside a
crowd or group of its class, is ignored unless it is a true positive.

Shape letters: G ground-truth boxes and D detections of one image.
"""

from collections.abc import Sequence

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.evaluator import (
    CategoryLike,
    DetectionEvaluator,
    ImageGroundtruth,
)
from object_detection_mtl.inference.image_detections import ImageDetections

TRUE_POSITIVE = "TruePositive"
LOCALIZATION = "Localisation"
CLASSIFICATION = "Classification"
REDUNDANCY = "Redundancy"
BACKGROUND = "Background"
FALSE_NEGATIVE = "FalseNegative"

KINDS = (TRUE_POSITIVE, LOCALIZATION, CLASSIFICATION, REDUNDANCY, BACKGROUND, FALSE_NEGATIVE)

_IGNORED = -1


def _best(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best column of each row of `table` [D, G] and its value (0 without columns)."""
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
    """Classify the detections and objects of one image by the rules of this module.

    Args:
        groundtruth: the objects of the image.
        detections: its detections, in any order.
        matching_iou_threshold: see rule 1.
        background_iou_threshold: see rule 2.

    Returns:
        [D] int, index into KINDS of each detection in the order given, -1 where it is ignored; and
        [G] bool, which objects are false negatives.
    """
    wanted = ~(groundtruth.difficult | groundtruth.is_crowd | groundtruth.group_of)
    own_class = detections.classes[:, np.newaxis] == groundtruth.classes
    overlap = box_overlaps.iou(detections.boxes, groundtruth.boxes)

    own, own_overlap = _best(np.where(own_class, overlap, 0.0))
    matched = own_overlap >= matching_iou_threshold
    matched_wanted = np.zeros(len(matched), dtype=bool)
    matched_wanted[matched] = wanted[own[matched]]
    # With equal overlap, an object of the same class takes precedence.
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
    covered = box_overlaps.covered_fraction(detections.boxes, groundtruth.boxes[area_like])
    inside = np.any((covered >= 0.5) & own_class[:, area_like], axis=1)
    names[(matched & ~matched_wanted) | inside] = _IGNORED
    names[claims[first]] = KINDS.index(TRUE_POSITIVE)

    missed = wanted.copy()
    missed[found] = False
    return names, missed


class ErrorAnalysis(DetectionEvaluator):
    """Counts of the five error types, over all images and by category.

    Args:
        categories: the classes.
        min_score: detections with a lower score are ignored. Choose the score threshold of the
            application.
        matching_iou_threshold: see the module.
        background_iou_threshold: see the module.
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
                "expected 0 < background_iou_threshold <= matching_iou_threshold <= 1, got "
                f"{background_iou_threshold} and {matching_iou_threshold}"
            )
        self._min_score = min_score
        self._matching_iou_threshold = matching_iou_threshold
        self._background_iou_threshold = background_iou_threshold

    def counts(self) -> dict[int, dict[str, int]]:
        """Return category id -> kind -> count.

        A false negative counts for the object's category, every other kind for the category of the
        detection.
        """
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
        """Return `ErrorAnalysis/<kind>` and `ErrorAnalysis_ByCategory/<kind>/<name>`."""
        counts = self.counts()
        metrics = {
            f"ErrorAnalysis/{kind}": float(sum(count[kind] for count in counts.values()))
            for kind in KINDS
        }
        for category_id, name in self.names.items():
            for kind, count in counts[category_id].items():
                metrics[f"ErrorAnalysis_ByCategory/{kind}/{name}"] = float(count)
        return metrics
