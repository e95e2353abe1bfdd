"""Results of an experiment, read from its JSON files."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.experiments.dataset_splits import VALIDATION
from object_detection_mtl.experiments.experiment_files import GROUNDTRUTH, detections_file
from object_detection_mtl.experiments.paired_runs import RunError
from object_detection_mtl.fields import ScoreSource

MEAN_AP = "PascalBoxes_Precision/mAP@0.5IOU"
COCO_AP = "DetectionBoxes_Precision/mAP"
_PER_CLASS = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/"
_ERRORS = "ErrorAnalysis/"
_TASKS = "mtl/"
_GRADIENT_NORM = "gradient_norm"
# Columns of measured gradients -> what their names in TensorBoard begin with.
GRADIENT_COLUMNS = {
    "norm on shared features": "GradientNorm/shared/",
    "norm on other variables": "GradientNorm/heads/",
    "cosine to the main losses": "GradientCosine/",
}


@dataclass(frozen=True)
class Result:
    """One evaluation of one run.

    Attributes:
        variant: as the run's, with ", main logits" where those detect.
        rate: peak learning rate, as written.
        seed: of the run.
        split: that was evaluated.
        evaluation: metrics, or None for a training that diverged.
        content: of the JSON file.
        detections: file with the detections; early results on validation have none.
        groundtruth: file with the ground truth of the split.
    """

    variant: str
    rate: str
    seed: int
    split: str
    evaluation: Mapping[str, Any] | None
    content: Mapping[str, Any]
    detections: Path
    groundtruth: Path

    def metric(self, name: str) -> float | None:
        """Return a metric; None where it is NaN or the training diverged."""
        return None if self.evaluation is None else self.evaluation["metrics"].get(name)

    def per_class(self) -> dict[str, float | None]:
        """Return AP@.5 by class."""
        return self._by_prefix(_PER_CLASS)

    def task_metrics(self) -> dict[str, float | None]:
        """Return the metrics of the auxiliary tasks; empty without them."""
        return self._by_prefix(_TASKS)

    def error_kinds(self) -> dict[str, float | None]:
        """Return the numbers of true positives and of each kind of error."""
        return self._by_prefix(_ERRORS)

    def by_number_of_classes(self) -> dict[str, float | None]:
        """Return mAP@.5 by the number of classes in an image."""
        groups = {} if self.evaluation is None else self.evaluation["by_number_of_classes"]
        return {f"{name} (n={v['images']:.0f})": v["mAP@0.5"] for name, v in groups.items()}

    def training_minutes(self, kind: str) -> float | None:
        """Return CPU ("cpu") or wall-clock ("wall") minutes of training; None if not all known."""
        costs = [c[f"{kind}_seconds"] for c in self.content["costs"] if c["phase"] == "training"]
        return None if None in costs else sum(costs) / 60.0

    def gradient_norm(self) -> float | None:
        """Return the mean norm of the gradient over the training."""
        values = self.content.get("curves", {}).get("values", {}).get(_GRADIENT_NORM, [])
        known = [value for value in values if value is not None]
        return statistics.mean(known) if known else None

    def gradients(self) -> dict[str, dict[str, float]]:
        """Return loss -> column -> mean over the steps that measured gradients.

        Empty unless the run measured them (`train_config.log_gradient_norms_every_n`).
        """
        found: dict[str, dict[str, float]] = {}
        for tag, values in self.content.get("curves", {}).get("values", {}).items():
            known = [value for value in values if value is not None]
            for column, prefix in GRADIENT_COLUMNS.items():
                if tag.startswith(prefix) and known:
                    found.setdefault(tag.removeprefix(prefix), {})[column] = statistics.mean(known)
        # Cosines between two losses have the names of both.
        return {loss: columns for loss, columns in found.items() if len(columns) > 1}

    def _by_prefix(self, prefix: str) -> dict[str, float | None]:
        metrics = {} if self.evaluation is None else self.evaluation["metrics"]
        return {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}


def load_results(directory: Path) -> list[Result]:
    """Return the results of an experiment.

    Args:
        directory: of its JSON files.

    Raises:
        RunError: it has none.
    """
    results: list[Result] = []
    for path in sorted(directory.glob("*.json")):
        results += _results_of(path, json.loads(path.read_text()))
    if not results:
        raise RunError(f"{directory} has no result; `python -m benchmarks.ablation run` makes them")
    return results


def _results_of(path: Path, content: Mapping[str, Any]) -> Iterable[Result]:
    run = content["run"]
    evaluations = content.get("evaluations") or {ScoreSource.as_trained: None}
    for source, evaluation in evaluations.items():
        suffix = "" if source == ScoreSource.as_trained else f", {source}"
        yield Result(
            variant=run["variant"] + suffix,
            rate=run["rate"],
            seed=run["seed"],
            split=content["split"],
            evaluation=evaluation,
            content=content,
            detections=path.with_name(f"{path.stem}__{detections_file(source)}"),
            groundtruth=path.parent.parent / f"{content['split']}_{GROUNDTRUTH}",
        )


def group(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return (variant, rate) -> results by ascending seed; rates of a variant ascend, too."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.variant, result.rate), []).append(result)
    order = {variant: None for variant, _ in sorted(groups, key=_variant_order)}
    return {
        key: sorted(groups[key], key=lambda result: result.seed)
        for variant in order
        for key in sorted((k for k in groups if k[0] == variant), key=lambda k: float(k[1]))
    }


def _variant_order(key: tuple[str, str]) -> tuple[bool, str]:
    """Baselines first."""
    return not key[0].startswith("baseline"), key[0]


def mean_of(results: Iterable[Result], metric: str) -> float | None:
    """Return the mean of a metric; None if one of the results lacks it."""
    values = [result.metric(metric) for result in results]
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known and len(known) == len(values) else None


def choose_rates(results: Iterable[Result]) -> dict[str, str]:
    """Return the rate of each variant with the best mAP@.5 on validation.

    Rates are compared by their means over the seeds, corrected for which seeds each has
    (`seed_corrected_means`). The lower rate wins a tie; a rate at which a training diverged is not
    chosen. Scores that were not evaluated on validation, such as those of a refiner fitted to it,
    have the rate of their run as trained; otherwise there has to be a single rate.

    Raises:
        RunError: a variant has several rates and nothing to choose one by.
    """
    rates: dict[str, list[str]] = {}
    results = list(results)
    for variant, rate in group(results):
        rates.setdefault(variant, []).append(rate)
    values: dict[str, dict[tuple[str, int], float]] = {}
    for (variant, rate), members in group(r for r in results if r.split == VALIDATION).items():
        found = [(result.seed, result.metric(MEAN_AP)) for result in members]
        if all(value is not None for _, value in found):
            known = {(rate, seed): value for seed, value in found if value is not None}
            values.setdefault(variant, {}).update(known)
    best: dict[str, str] = {}
    for variant, known in values.items():
        means = seed_corrected_means(known)
        best[variant] = max(means, key=lambda rate: (round(means[rate], 9), -float(rate)))
    chosen = {}
    as_trained = {r.variant: str(r.content["run"]["variant"]) for r in results}
    for variant, candidates in rates.items():
        if variant not in best and as_trained[variant] in best:
            best[variant] = best[as_trained[variant]]
        if variant not in best and len(set(candidates)) > 1:
            raise RunError(
                f"{variant} was trained with the rates {', '.join(candidates)}, and no result on "
                "validation says which is best; evaluate them there first"
            )
        chosen[variant] = best.get(variant, candidates[0])
    return chosen


def seed_corrected_means(values: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """Return the mean of each rate as if all rates had the same seeds.

    Another seed may move mAP more than the rate does. So each value is the sum of an effect of its
    rate and one of its seed, estimated by least squares.

    Args:
        values: (rate, seed) -> value.
    """
    rates = list(dict.fromkeys(rate for rate, _ in values))
    seeds = list(dict.fromkeys(seed for _, seed in values))
    design = np.array(
        [[*(r == rate for r in rates), *(s == seed for s in seeds)] for rate, seed in values], float
    )
    effects = np.linalg.lstsq(design, np.array(list(values.values())), rcond=None)[0]
    of_seeds = effects[len(rates) :].mean()
    return {rate: float(effect + of_seeds) for rate, effect in zip(rates, effects, strict=False)}
