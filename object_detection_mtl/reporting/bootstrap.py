"""Paired bootstrap over images: confidence intervals of differences in average precision.

All detectors are scored on the same resampled images. Where a detector has several runs (seeds),
its average precision is the mean over them in every resample.

Shape letters: B resamples, I images, N detections of one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.reporting.object_matching import MatchTable

# Elements of one block of resamples x detections.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A difference, second detector minus first.

    Attributes:
        difference: on all images.
        low, high: bounds of the percentile interval; NaN where no resample has a value.
        level: confidence level.
    """

    difference: float
    low: float
    high: float
    level: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is significant at the level."""
        return bool(self.low > 0 or self.high < 0)


def resample_images(num_images: int, num_resamples: int, seed: int = 0) -> np.ndarray:
    """Return the number of times that each resample draws each image, [B, I]; rows sum to I."""
    generator = np.random.default_rng(seed)
    if not num_images:
        return np.zeros((num_resamples, 0), np.int64)
    return generator.multinomial(num_images, np.full(num_images, 1 / num_images), num_resamples)


def weighted_ap(table: MatchTable, class_id: int, weights: np.ndarray) -> np.ndarray:
    """Return the average precision [B] of a class with images weighted by `weights` [B, I].

    NaN where no object of the class is drawn. Weights of one give `score_curves.class_curve`'s.
    """
    rows = np.flatnonzero((table.classes == class_id) & ~table.ignored)
    rows = rows[np.argsort(-table.scores[rows], kind="stable")]
    objects = table.object_image[table.counted & (table.object_classes == class_id)]
    images, hits = table.image[rows], table.hits[rows]
    values = np.empty(len(weights))
    step = max(1, _BLOCK // max(1, len(rows)))
    for start in range(0, len(weights), step):
        block = weights[start : start + step].astype(np.float64)
        values[start : start + step] = _block_ap(block[:, images], hits, block[:, objects].sum(1))
    return values


def _block_ap(weights: np.ndarray, hits: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    true = np.cumsum(weights * hits, axis=1)
    total = np.cumsum(weights, axis=1)
    precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    steps = np.diff(true, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(num_objects > 0, (steps * envelope).sum(axis=1) / num_objects, np.nan)


def paired_differences(
    first: Sequence[MatchTable],
    second: Sequence[MatchTable],
    class_ids: Sequence[int],
    num_images: int,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[dict[int, Interval], Interval]:
    """Return the interval of each class's difference, and that of the mean over the classes.

    Args:
        first: matches of the runs of the first detector.
        second: matches of the runs of the second detector, on the same images.
        class_ids: class numbers.
        num_images: I.
        num_resamples: B.
        level: confidence level.
        seed: seed of the resampling.

    Raises:
        ValueError: a detector without run, or an impossible level or number.
    """
    if not first or not second:
        raise ValueError("paired_differences: a detector has no run, expected at least one each")
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(
            f"level is {level} and num_resamples {num_resamples}; expected a level between 0 and 1 "
            "and at least one resample"
        )
    # Row 0 is all images, once each.
    drawn = resample_images(num_images, num_resamples, seed)
    weights = np.concatenate([np.ones((1, num_images), np.int64), drawn])
    by_class = {
        class_id: _mean_of_runs(second, class_id, weights) - _mean_of_runs(first, class_id, weights)
        for class_id in class_ids
    }
    known = [values for values in by_class.values() if not np.isnan(values[0])]
    mean = _nan_mean(np.stack(known)) if known else np.full(len(weights), np.nan)
    intervals = {class_id: _interval(values, level) for class_id, values in by_class.items()}
    return intervals, _interval(mean, level)


def _mean_of_runs(runs: Sequence[MatchTable], class_id: int, weights: np.ndarray) -> np.ndarray:
    return np.mean([weighted_ap(table, class_id, weights) for table in runs], axis=0)


def _nan_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over rows, ignoring NaNs; NaN for only NaNs."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _interval(values: np.ndarray, level: float) -> Interval:
    """Return the percentile interval of values [1 + B], of which the first is the estimate."""
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return Interval(float(values[0]), float("nan"), float("nan"), level)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(values[0]), float(low), float(high), level)
