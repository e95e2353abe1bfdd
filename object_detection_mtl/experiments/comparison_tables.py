"""Markdown tables of an experiment."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.experiments import paired_bootstrap
from object_detection_mtl.experiments.dataset_splits import TEST, VALIDATION
from object_detection_mtl.experiments.paired_bootstrap import PairedDifference
from object_detection_mtl.experiments.paired_runs import BASELINE
from object_detection_mtl.experiments.run_results import (
    COCO_AP,
    GRADIENT_COLUMNS,
    MEAN_AP,
    Result,
    choose_rates,
    group,
)

RESAMPLES = 1000
# Title -> what a row has there, by column.
_DETAILS: dict[str, tuple[Callable[[Result], Mapping[str, float | None]], int]] = {
    "AP@.5 by class": (Result.per_class, 3),
    "mAP@.5 by number of classes in the image": (Result.by_number_of_classes, 3),
    "Predictions of the auxiliary tasks": (Result.task_metrics, 3),
    "True positives and errors, detections with a score of at least 0.5": (Result.error_kinds, 0),
}


def report(results: Sequence[Result], resamples: int = RESAMPLES, reference: str = BASELINE) -> str:
    """Return all tables of an experiment.

    Args:
        results: of the experiment.
        resamples: of the bootstrap.
        reference: variant that the others are compared with, such as `baseline@long`.

    Raises:
        RunError: a variant has several rates and nothing to choose one by.
    """
    rates = choose_rates(results)
    parts = []
    for split in (VALIDATION, TEST):
        members = [result for result in results if result.split == split]
        if not members:
            continue
        chosen = {v: [r for r in members if (r.variant, r.rate) == (v, rates[v])] for v in rates}
        chosen = {variant: found for variant, found in chosen.items() if found}
        parts += [f"## On {split}", grid_table(members)]
        parts.append(differences_table(chosen, resamples, reference))
        for title, (read, digits) in _DETAILS.items():
            having = {variant: runs for variant, runs in chosen.items() if read(runs[0])}
            if having:
                table = _detail_table(having, read, digits)
                parts.append(f"{title}, at the rates above:\n\n{table}")
        parts += gradient_tables(members)
    return "\n\n".join(parts)


def grid_table(results: Iterable[Result]) -> str:
    """Return mean and standard deviation over the seeds, by variant and rate."""
    rows = []
    for (variant, rate), members in group(results).items():
        rows.append(
            [
                variant,
                rate,
                ", ".join(str(result.seed) for result in members),
                mean_and_deviation([result.metric(MEAN_AP) for result in members], 3),
                mean_and_deviation([result.metric(COCO_AP) for result in members], 3),
                mean_and_deviation([result.gradient_norm() for result in members], 2),
                mean_and_deviation([result.training_minutes("cpu") for result in members], 1),
                mean_and_deviation([result.training_minutes("wall") for result in members], 1),
            ]
        )
    header = ["variant", "rate", "seeds", "mAP@.5", "mAP@[.5:.95]", "gradient norm"]
    return markdown_table([*header, "CPU min of training", "wall min"], rows)


def gradient_tables(results: Iterable[Result]) -> list[str]:
    """Return a table of the gradients of each run that measured them."""
    tables = []
    for result in results:
        rows = [
            [loss, *(_number(found.get(column, math.nan), 2) for column in GRADIENT_COLUMNS)]
            for loss, found in result.gradients().items()
        ]
        # Once for a run, not again for its other sources of scores.
        if rows and result.variant == result.content["run"]["variant"]:
            title = f"Gradients of {result.variant}, rate {result.rate}, seed {result.seed}"
            table = markdown_table(["loss", *GRADIENT_COLUMNS], rows)
            tables.append(f"{title}, means over the measured steps:\n\n{table}")
    return tables


def differences_table(
    chosen: Mapping[str, Sequence[Result]],
    resamples: int = RESAMPLES,
    reference: str = BASELINE,
) -> str:
    """Return each variant's difference to the reference, in points of mAP, over the common seeds.

    Args:
        chosen: variant -> results at its rate.
        resamples: of the bootstrap, which needs the files with detections of all runs.
        reference: variant that the others are compared with.
    """
    if reference not in chosen:
        return f"No {reference}, hence no differences."
    rows = []
    for found in variant_differences(chosen, resamples, reference):
        row = [found.variant, found.rate, ", ".join(map(str, found.seeds))]
        for difference in found.metrics.values():
            row.append(f"{difference.mean:+.2f} ± {_number(difference.standard_error, 2)}")
        rows.append([*row, interval_text(found.interval)])
    text = (
        f"Differences to {reference} (rate {chosen[reference][0].rate}) in points, mean and paired "
        "standard error; 95 % interval of mAP@.5 from a hierarchical bootstrap over seed pairs and "
        "images:\n\n"
    )
    header = ["variant", "rate", "seeds", "mAP@.5", "mAP@[.5:.95]", "95 % interval"]
    return text + markdown_table(header, rows)


@dataclass(frozen=True)
class VariantDifference:
    """A variant's difference to the reference.

    Attributes:
        variant: name.
        rate: peak learning rate, as written.
        seeds: seeds of the pairs.
        metrics: name of a metric -> difference in points.
        interval: 95 % interval of the difference of mAP@.5 in points; None without detections.
    """

    variant: str
    rate: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, PairedDifference]
    interval: tuple[float, float] | None


def variant_differences(
    chosen: Mapping[str, Sequence[Result]],
    resamples: int = RESAMPLES,
    reference: str = BASELINE,
) -> list[VariantDifference]:
    """Return the differences to the reference of all variants that have a pair with it.

    Args:
        chosen: variant -> results at its rate; with the reference.
        resamples: of the bootstrap.
        reference: variant that the others are compared with.
    """
    bootstrap = _Bootstrap(resamples)
    differences = []
    for variant, members in chosen.items():
        pairs = _pairs(chosen[reference], members) if variant != reference else []
        if not pairs:
            continue
        metrics = {}
        for metric in (MEAN_AP, COCO_AP):
            values = [[100 * (run.metric(metric) or 0.0) for run in pair] for pair in pairs]
            sides = map(list, zip(*values, strict=True))
            metrics[metric] = paired_bootstrap.paired_difference(*sides)
        seeds = tuple(first.seed for first, _ in pairs)
        interval = bootstrap.interval(pairs)
        differences.append(VariantDifference(variant, members[0].rate, seeds, metrics, interval))
    return differences


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return an interval in points; that of runs without detections on disk is unknown."""
    return "unknown" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def _pairs(first: Sequence[Result], second: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Return the finished runs of the same seeds."""
    by_seed = {result.seed: result for result in first if result.evaluation is not None}
    return [
        (by_seed[result.seed], result)
        for result in second
        if result.seed in by_seed and result.evaluation is not None
    ]


class _Bootstrap:
    """mAP of runs on the resampled images; each run is scored once."""

    def __init__(self, resamples: int) -> None:
        self._resamples = resamples
        self._values: dict[str, np.ndarray] = {}

    def interval(self, pairs: Sequence[tuple[Result, Result]]) -> tuple[float, float] | None:
        if not all(result.detections.exists() for pair in pairs for result in pair):
            return None
        first, second = (np.stack([self._mean_ap(pair[side]) for pair in pairs]) for side in (0, 1))
        low, high = paired_bootstrap.hierarchical_interval(first, second)
        return 100 * low, 100 * high

    def _mean_ap(self, result: Result) -> np.ndarray:
        key = str(result.detections)
        if key not in self._values:
            matches = paired_bootstrap.load_matches(result.detections, result.groundtruth)
            assert result.evaluation is not None
            weights = paired_bootstrap.draw_images(result.evaluation["images"], self._resamples)
            self._values[key] = paired_bootstrap.mean_ap(matches, weights)
        return self._values[key]


def _detail_table(
    chosen: Mapping[str, Sequence[Result]],
    read: Callable[[Result], Mapping[str, float | None]],
    digits: int,
) -> str:
    columns = list(
        dict.fromkeys(name for runs in chosen.values() for r in runs for name in read(r))
    )
    rows = [
        [
            variant,
            *(
                mean_and_deviation([read(run).get(name) for run in runs], digits)
                for name in columns
            ),
        ]
        for variant, runs in chosen.items()
    ]
    return markdown_table(["variant", *columns], rows)


def mean_and_deviation(values: Sequence[float | None], digits: int) -> str:
    """Return mean and standard deviation of the known values, and how many are unknown."""
    known = [value for value in values if value is not None]
    unknown = len(values) - len(known)
    note = f" ({unknown} without)" if unknown else ""
    if not known:
        return f"none{note}"
    spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.{digits}f}{spread}{note}"


def _number(value: float, digits: int) -> str:
    return "unknown" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
