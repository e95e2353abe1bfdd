"""Precision-recall, F1 over score, calibration.

Shape letters: N detections of one class or of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation.pascal_voc import average_precision, precision_recall
from object_detection_mtl.reporting.object_matching import MatchTable


@dataclass(frozen=True)
class ClassCurve:
    """Precision and recall of one class after each detection, best score first.

    Attributes:
        num_objects: counted objects.
        scores, precision, recall: [N]; empty where the class has no object.
        average_precision: area under the interpolated curve; NaN without objects.
    """

    num_objects: int
    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    average_precision: float


@dataclass(frozen=True)
class BestF1:
    """The score threshold with the greatest F1.

    Attributes:
        threshold: detections with at least this score are kept; NaN without detections or objects.
        f1, precision, recall: values at the threshold; NaN where `threshold` is NaN.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


def class_curve(table: MatchTable, class_id: int) -> ClassCurve:
    """Return the curve of one class."""
    num_objects = int(np.count_nonzero(table.counted & (table.object_classes == class_id)))
    rows = (table.classes == class_id) & ~table.ignored
    return make_curve(table.scores[rows], table.hits[rows], num_objects)


def make_curve(scores: np.ndarray, hits: np.ndarray, num_objects: int) -> ClassCurve:
    """Return the curve of detections [N] in any order; equal scores keep their order."""
    if not num_objects:
        none = np.zeros(0)
        return ClassCurve(0, none, none, none, float("nan"))
    curve = precision_recall(scores, hits, num_objects)
    ranked = scores[np.argsort(-scores, kind="stable")]
    area = average_precision(curve.precision, curve.recall)
    return ClassCurve(num_objects, ranked, curve.precision, curve.recall, area)


def envelope(curve: ClassCurve) -> np.ndarray:
    """Return the greatest precision [N] at each recall or a greater one."""
    return np.maximum.accumulate(curve.precision[::-1])[::-1]


def precision_at_recalls(curve: ClassCurve, recalls: np.ndarray) -> np.ndarray:
    """Return the interpolated precision at ascending recalls; 0 where the recall is not reached."""
    return np.append(envelope(curve), 0.0)[np.searchsorted(curve.recall, recalls)]


def f1_of(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return the harmonic mean [N]; 0 where both are 0."""
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def best_f1(curve: ClassCurve) -> BestF1:
    """Return the threshold with the greatest F1; of equal ones the highest threshold."""
    if not len(curve.scores):
        nan = float("nan")
        return BestF1(nan, nan, nan, nan)
    # A threshold keeps all detections of one score or none of them.
    last = np.append(curve.scores[1:] != curve.scores[:-1], True)
    f1 = np.where(last, f1_of(curve.precision, curve.recall), -1.0)
    best = int(np.argmax(f1))
    return BestF1(
        float(curve.scores[best]),
        float(f1[best]),
        float(curve.precision[best]),
        float(curve.recall[best]),
    )


def at_thresholds(
    curve: ClassCurve, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall, F1 of the detections with at least each threshold.

    Precision is NaN where no detection is left.
    """
    kept = np.searchsorted(-curve.scores, -thresholds, side="right")
    precision = np.append(np.nan, curve.precision)[kept]
    recall = np.append(0.0, curve.recall)[kept]
    return precision, recall, f1_of(np.nan_to_num(precision), recall)


def counts_at_thresholds(
    curve: ClassCurve, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, false positives and missed objects at each threshold."""
    kept = np.searchsorted(-curve.scores, -thresholds, side="right")
    hits = np.append(0.0, curve.recall * curve.num_objects)[kept].round()
    return hits, kept - hits, curve.num_objects - hits


@dataclass(frozen=True)
class ScoreCalibration:
    """Precision of the detections by score.

    Attributes:
        edges: [B + 1] of the score bins; a bin includes its upper edge, the first also 0.
        counts: [B] detections.
        mean_scores, precision: [B]; NaN for an empty bin.
        error: expected calibration error: mean of |precision - mean score| over the detections;
            NaN without detections.
    """

    edges: np.ndarray
    counts: np.ndarray
    mean_scores: np.ndarray
    precision: np.ndarray
    error: float


def calibration(table: MatchTable, num_bins: int = 10) -> ScoreCalibration:
    """Return the calibration over all classes; ignored detections are dropped."""
    rows = ~table.ignored
    scores, hits = table.scores[rows], table.hits[rows]
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    # Half a unit in the ninth decimal: 0.3 as a score belongs to the bin that ends with 0.3.
    bins = np.ceil(np.clip(scores, 0, 1) * num_bins - 5e-10).astype(int) - 1
    bins = np.clip(bins, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_scores = np.bincount(bins, scores, num_bins) / counts
        precision = np.bincount(bins, hits.astype(float), num_bins) / counts
    gaps = np.nan_to_num(np.abs(precision - mean_scores))
    total = counts.sum()
    error = float((gaps * counts).sum() / total) if total else float("nan")
    return ScoreCalibration(edges, counts, mean_scores, precision, error)
