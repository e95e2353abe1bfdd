"""Comparison of detectors on the same images: differences, intervals, examples.

The first detector is the reference of all others. A detector may have several runs (seeds), whose
numbers are averaged.

Shape letters: I images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.config.errors import printable
from object_detection_mtl.reporting import mistakes
from object_detection_mtl.reporting.bootstrap import Interval, paired_differences
from object_detection_mtl.reporting.evaluated_images import EvaluationSet
from object_detection_mtl.reporting.report_contents import (
    ReportContents,
    ReportOptions,
    report_contents,
)


@dataclass(frozen=True)
class DetectorRuns:
    """The runs of one detector.

    Attributes:
        name: name of the detector.
        runs: the report of each run.
    """

    name: str
    runs: list[ReportContents]

    def mean(self, values: Sequence[float]) -> float:
        """Return the mean of the runs' values; NaN where one of them is."""
        return float(np.mean(values))

    def metrics(self) -> dict[str, float]:
        """Return the mean of every metric over the runs."""
        rows = [run.metrics() for run in self.runs]
        return {key: self.mean([row[key] for row in rows]) for key in rows[0]}

    def class_aps(self) -> list[float]:
        """Return VOC AP at IoU 0.5 of every class, the mean over the runs."""
        columns = zip(*(run.classes for run in self.runs), strict=True)
        return [self.mean([item.voc_ap for item in column]) for column in columns]


@dataclass(frozen=True)
class Difference:
    """A detector against the reference.

    Attributes:
        name: name of the detector.
        by_class: class number -> difference of AP at IoU 0.5.
        mean: difference of mAP at IoU 0.5.
        image_gains: [I] decrease of the loss of each image, see `mistakes.image_losses`; negative
            where the reference is better.
    """

    name: str
    by_class: dict[int, Interval]
    mean: Interval
    image_gains: np.ndarray

    def best_images(self, limit: int) -> list[int]:
        """Return the images on which this detector is better, greatest gain first."""
        order = np.argsort(-self.image_gains, kind="stable")[:limit]
        return [int(i) for i in order if self.image_gains[i] > 0]

    def worst_images(self, limit: int) -> list[int]:
        """Return the images on which the reference is better, greatest loss first."""
        order = np.argsort(self.image_gains, kind="stable")[:limit]
        return [int(i) for i in order if self.image_gains[i] < 0]


@dataclass(frozen=True)
class DetectorComparison:
    """All numbers of a comparison.

    Attributes:
        detectors: the reference first.
        differences: differences of the others from the reference.
        options: options of the report.
    """

    detectors: list[DetectorRuns]
    differences: list[Difference]
    options: ReportOptions

    def notes(self) -> list[str]:
        """Return the notes, each once; with the detectors, where not all have it."""
        owners: dict[str, dict[str, None]] = {}
        for detector in self.detectors:
            for run in detector.runs:
                for note in run.evaluation.notes:
                    owners.setdefault(note, {})[detector.name] = None
        return [
            note if len(names) == len(self.detectors) else f"{', '.join(names)}: {note}"
            for note, names in owners.items()
        ]


def compare_detectors(
    detectors: Sequence[tuple[str, Sequence[EvaluationSet]]],
    options: ReportOptions | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> DetectorComparison:
    """Return the comparison of detectors.

    Args:
        detectors: name and runs of each, the reference first.
        options: options of the report.
        num_resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.

    Raises:
        ValueError: fewer than two detectors, two of one name, a detector without run, or runs on
            different ground truth.
    """
    options = options or ReportOptions()
    detectors = [(printable(name), runs) for name, runs in detectors]
    _check(detectors)
    reports = [
        DetectorRuns(name, [report_contents(run, options) for run in runs])
        for name, runs in detectors
    ]
    reference = reports[0]
    num_images = len(reference.runs[0].evaluation.images)
    differences = []
    for other in reports[1:]:
        by_class, mean = paired_differences(
            [run.table for run in reference.runs],
            [run.table for run in other.runs],
            reference.runs[0].class_ids,
            num_images,
            num_resamples=num_resamples,
            seed=seed,
        )
        gains = _image_losses(reference, options) - _image_losses(other, options)
        differences.append(Difference(other.name, by_class, mean, gains))
    return DetectorComparison(reports, differences, options)


def _image_losses(detector: DetectorRuns, options: ReportOptions) -> np.ndarray:
    losses = [
        mistakes.image_losses(run.table, len(run.evaluation.images), options.min_score)
        for run in detector.runs
    ]
    return np.mean(losses, axis=0)


def _check(detectors: Sequence[tuple[str, Sequence[EvaluationSet]]]) -> None:
    names = [name for name, _ in detectors]
    if len(detectors) < 2:
        raise ValueError(f"a comparison of {len(detectors)} detectors; expected at least two")
    if len(set(names)) < len(names):
        raise ValueError(
            f"detectors have the names {names}; expected unique names. The command takes NAME=PATH"
        )
    empty = [name for name, runs in detectors if not runs]
    if empty:
        raise ValueError(f"detector {empty[0]!r} has no run; expected at least one")
    reference = detectors[0][1][0]
    for name, runs in detectors:
        for run in runs:
            if not _same_groundtruth(reference, run):
                raise ValueError(
                    f"detector {name!r} was evaluated on other images, objects or classes than "
                    f"{names[0]!r}; expected the same ground truth"
                )


def _same_groundtruth(first: EvaluationSet, second: EvaluationSet) -> bool:
    if [c.id for c in first.categories] != [c.id for c in second.categories]:
        return False
    if len(first.images) != len(second.images):
        return False
    return all(
        a.image_id == b.image_id
        and np.array_equal(a.groundtruth.boxes, b.groundtruth.boxes)
        and np.array_equal(a.groundtruth.classes, b.groundtruth.classes)
        for a, b in zip(first.images, second.images, strict=True)
    )
