"""Uncertainty of a difference between two variants that were trained with the same seeds.

The paired standard error is that of the seeds' differences. The hierarchical bootstrap resamples
the seed pairs and the images of the test set: in a resample all runs are scored on the same images,
since all were, and the difference is the mean over the resampled pairs.

Shape letters: R resamples, S seed pairs, I images.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from object_detection_mtl.experiments import stored_detections
from object_detection_mtl.reporting.bootstrap import resample_images, weighted_ap
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage
from object_detection_mtl.reporting.object_matching import MatchTable, match_images

LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """A difference between pairs of numbers.

    Attributes:
        mean: of the pairs.
        standard_error: of that mean; NaN for a single pair.
        pairs: their number.
    """

    mean: float
    standard_error: float
    pairs: int


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Return the mean of second minus first, pair by pair, and its standard error.

    Raises:
        ValueError: no pair, or numbers without a partner.
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"paired_difference: {len(first)} and {len(second)} numbers; expected as many, at "
            "least one"
        )
    differences = [b - a for a, b in zip(first, second, strict=True)]
    error = math.nan
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
    return PairedDifference(statistics.mean(differences), error, len(differences))


def load_matches(detections: Path, groundtruth: Path) -> MatchTable:
    """Return the matches of a run at an IoU of 0.5, from its files.

    Raises:
        ValueError: the files are of different images.
    """
    truth = stored_detections.load_groundtruth(groundtruth)
    found = stored_detections.load_detections(detections)
    if len(truth) != len(found):
        raise ValueError(
            f"{detections} has {len(found)} images and {groundtruth} {len(truth)}; expected the "
            "same. Were they made from the same split?"
        )
    pairs = zip(truth, found, strict=True)
    return match_images([EvaluatedImage(str(i), *pair) for i, pair in enumerate(pairs)])


def mean_ap(matches: MatchTable, weights: np.ndarray) -> np.ndarray:
    """Return mAP@.5 [R] with images weighted by `weights` [R, I].

    As in VOC's metric, a class without an object in the drawn images is dropped from the mean; NaN
    where no class is left.
    """
    classes = np.unique(matches.object_classes[matches.counted])
    if not len(classes):
        return np.full(len(weights), np.nan)
    values = np.stack([weighted_ap(matches, int(number), weights) for number in classes])
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)


def hierarchical_interval(
    first: np.ndarray, second: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of the mean difference, second minus first.

    Args:
        first: [S, R], mAP of the first variant's runs on each resample of the images.
        second: [S, R] of the second variant's; row i has the same seed as row i of `first`.
        seed: of the resampling of pairs.
    """
    differences = second - first
    pairs, resamples = differences.shape
    drawn = np.random.default_rng(seed).integers(pairs, size=(pairs, resamples))
    means = np.take_along_axis(differences, drawn, axis=0).mean(axis=0)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(means, [tail, 1 - tail])
    return float(low), float(high)


def draw_images(num_images: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Return how often each resample draws each image, [R, I]."""
    return resample_images(num_images, resamples, seed)
