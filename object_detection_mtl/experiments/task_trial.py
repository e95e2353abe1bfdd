"""Trial of the auxiliary tasks on one dataset: paired trainings, then a comparison.

Every variant has the same grid of learning rates, trained with the first seed and evaluated on
validation images. The best rate of each is trained with the other seeds, and these runs are
evaluated on test images, which nothing was chosen by.

The tasks make a training step longer, and a detector that is trained longer may be better for that
reason alone. So one more baseline gets as many steps as fit into the training time of `all`.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from object_detection_mtl.config import pipeline
from object_detection_mtl.experiments import (
    comparison_tables,
    experiment_files,
    paired_runs,
    paired_training,
    run_results,
)
from object_detection_mtl.experiments.comparison_tables import VariantDifference
from object_detection_mtl.experiments.dataset_splits import TEST, VALIDATION
from object_detection_mtl.experiments.paired_runs import BASELINE, Run
from object_detection_mtl.experiments.paired_training import Experiment
from object_detection_mtl.experiments.run_processes import RunProcesses
from object_detection_mtl.experiments.run_results import MEAN_AP, Result

EQUAL_TIME = "equal_time"  # form: as many steps as fit into the time of `all`
EQUAL_TIME_BASELINE = f"{BASELINE}{paired_runs.FORM_MARK}{EQUAL_TIME}"
VARIANTS = (BASELINE, EQUAL_TIME_BASELINE, "all", "all+refine")
TIMED_STEPS = 20
# Every run is evaluated as trained and refitted, one with refinement from the main logits too.
_EVALUATIONS, _EVALUATIONS_WITH_REFINEMENT = 2, 3
# Of the training, that a refiner is fitted to for validation; for a test, to all of validation.
_FITTED_IMAGES = 500
# Of a process: start of TensorFlow, building of the model.
_START_SECONDS = 30.0
_FILE = "seconds_per_step.json"
UNDECIDED, BETTER, WORSE = "undecided", "better", "worse"


@dataclass(frozen=True)
class TrialRequest:
    """The tuning budget, the same for every variant.

    Attributes:
        rates: peak learning rates, as written.
        seeds: seeds; the first is that of the grid of rates.
        steps: training steps of a run.
    """

    rates: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int

    @property
    def num_trainings(self) -> int:
        """Number of trainings of one variant."""
        return len(self.rates) + len(self.seeds) - 1


def estimate_hours(experiment: Experiment, request: TrialRequest) -> float:
    """Return the hours that a trial takes from its start, from a few training steps per variant."""
    seconds = 0.0
    for variant in VARIANTS:
        step = measure_step(experiment, _without_form(variant), request.rates[0])
        steps = request.steps
        if variant == EQUAL_TIME_BASELINE:
            steps = equal_time_steps(experiment, request)
        sizes = experiment.dataset.sizes
        num_runs = len(request.rates) + len(request.seeds)
        images = len(request.rates) * sizes[VALIDATION] + len(request.seeds) * sizes[TEST]
        is_refined = variant.endswith("refine")
        images *= _EVALUATIONS_WITH_REFINEMENT if is_refined else _EVALUATIONS
        images += len(request.rates) * _FITTED_IMAGES + num_runs * sizes[VALIDATION]
        # Detection in an image takes no longer than training on it.
        seconds += step.seconds * request.num_trainings * steps
        seconds += step.seconds / step.batch_size * images
        seconds += _START_SECONDS * 2 * num_runs
    return seconds / 3600.0


def equal_time_steps(experiment: Experiment, request: TrialRequest) -> int:
    """Return the steps of the baseline that take as long as those of `all`."""
    baseline, tasks = (
        measure_step(experiment, variant, request.rates[0]).seconds for variant in (BASELINE, "all")
    )
    return max(request.steps, round(request.steps * tasks / baseline))


def _without_form(variant: str) -> str:
    return variant.split(paired_runs.FORM_MARK)[0]


@dataclass(frozen=True)
class StepTime:
    """Time of a training step.

    Attributes:
        seconds: wall-clock seconds.
        batch_size: images.
    """

    seconds: float
    batch_size: int


def measure_step(experiment: Experiment, variant: str, rate: str) -> StepTime:
    """Return the time of a training step, from a training of `TIMED_STEPS`; measured once.

    Raises:
        StepError: the training failed.
    """
    directory = experiment.directory / "timing" / variant
    directory.mkdir(parents=True, exist_ok=True)
    with experiment_files.lock(directory / "lock", wait=True) as descriptor:
        if not (directory / _FILE).exists():
            config = paired_runs.make_config(
                experiment.config,
                Run(variant, rate, 1, TIMED_STEPS),
                experiment.dataset,
                experiment.weights,
                experiment.overrides,
            )
            pipeline.save(config, directory / "given.config")
            arguments = [
                "object_detection_mtl.model_main_tf2",
                f"--pipeline_config_path={directory / 'given.config'}",
                f"--model_dir={directory / 'run'}",
                f"--checkpoint_every_n={TIMED_STEPS}",
                f"--log_every_n={TIMED_STEPS // 4}",
                "--norecord_summaries",
            ]
            RunProcesses(directory, descriptor, experiment.threads).call("timing", arguments)
            from object_detection_mtl.experiments import run_evaluation

            curves = run_evaluation.read_curves(directory / "run" / "train")
            # The first block contains the tracing of the graph.
            speeds = [value for value in curves["values"]["steps_per_sec"][1:] if value]
            content = {"seconds": 1.0 / max(speeds), "batch_size": config.train_config.batch_size}
            experiment_files.write_json(directory / _FILE, content)
    return StepTime(**experiment_files.read_json(directory / _FILE))


def run_trial(experiment: Experiment, request: TrialRequest) -> int:
    """Train and evaluate what is missing; return the number of failed runs."""
    forms = {}
    if EQUAL_TIME_BASELINE in VARIANTS:
        forms[EQUAL_TIME] = {paired_runs.STEPS: str(equal_time_steps(experiment, request))}

    def runs(rates: Sequence[str], variants: Sequence[str], seeds: Sequence[int]) -> list[Run]:
        return paired_runs.make_runs(variants, rates, seeds, steps=request.steps, forms=forms)

    grid = runs(request.rates, VARIANTS, request.seeds[:1])
    failures = paired_training.execute_all(dataclasses.replace(experiment, split=VALIDATION), grid)
    if failures:
        return failures
    chosen = choose_variant_rates(run_results.load_results(experiment.results))
    final = [run for v, rate in chosen.items() for run in runs([rate], [v], request.seeds)]
    final.sort(key=lambda run: run.seed)
    return paired_training.execute_all(dataclasses.replace(experiment, split=TEST), final)


def choose_variant_rates(results: Sequence[Result]) -> dict[str, str]:
    """Return the best learning rate of each variant on validation, by what it was trained for."""
    return run_results.choose_rates(
        result for result in results if result.split == VALIDATION and result.variant in VARIANTS
    )


def trial_report(results: Sequence[Result]) -> str:
    """Return the comparison of all variants with the baseline on the test images, as Markdown."""
    rates = choose_variant_rates(results)
    chosen: dict[str, list[Result]] = {}
    for result in results:
        if result.split == TEST and result.rate == rates.get(result.variant.split(",")[0]):
            chosen.setdefault(result.variant, []).append(result)
    for members in chosen.values():
        members.sort(key=lambda result: result.seed)
    if BASELINE not in chosen:
        raise ValueError("the baseline has no result on the test images; run the command again")
    found = {d.variant: d for d in comparison_tables.variant_differences(chosen)}
    order = sorted(chosen, key=lambda variant: (not variant.startswith(BASELINE), variant))
    rows = [_row(variant, chosen, found.get(variant)) for variant in order]
    header = (
        "variant",
        "learning rate",
        "mAP@.5",
        "difference",
        "95 % interval",
        "verdict",
        "CPU minutes of training",
        "ms per image",
    )
    seeds = ", ".join(str(result.seed) for result in chosen[BASELINE])
    text = (
        f"Test images, seeds {seeds}. Differences to the baseline in points of mAP@.5; intervals "
        "by a hierarchical bootstrap over seed pairs and images. ms per image: detection in "
        "evaluation, wall-clock.\n\n"
    )
    notes = "\n".join(_conclusion(found[variant]) for variant in order if variant in found)
    return f"{text}{comparison_tables.markdown_table(header, rows)}\n\n{notes}"


def _row(
    variant: str, chosen: Mapping[str, Sequence[Result]], difference: VariantDifference | None
) -> list[str]:
    members = chosen[variant]
    mean_ap = comparison_tables.mean_and_deviation([r.metric(MEAN_AP) for r in members], 3)
    minutes = comparison_tables.mean_and_deviation([r.training_minutes("cpu") for r in members], 1)
    times = [r.evaluation.get("seconds_per_image") for r in members if r.evaluation is not None]
    known = [1000 * time for time in times if time is not None]
    speed = f"{statistics.mean(known):.0f}" if known else "unknown"
    if difference is None:
        return [variant, members[0].rate, mean_ap, "", "", "", minutes, speed]
    return [
        variant,
        difference.rate,
        mean_ap,
        f"{difference.metrics[MEAN_AP].mean:+.2f}",
        comparison_tables.interval_text(difference.interval),
        verdict(difference),
        minutes,
        speed,
    ]


def verdict(difference: VariantDifference) -> str:
    """Return whether a variant is better or worse than the baseline, or undecided."""
    if difference.interval is None or difference.interval[0] <= 0 <= difference.interval[1]:
        return UNDECIDED
    return BETTER if difference.interval[0] > 0 else WORSE


def _conclusion(difference: VariantDifference) -> str:
    if verdict(difference) == UNDECIDED:
        return (
            f"- {difference.variant}: undecided, the interval contains zero. More seeds, more "
            "steps or more test images make it smaller."
        )
    text = f"- {difference.variant}: {verdict(difference)} than the baseline."
    if difference.variant == EQUAL_TIME_BASELINE:
        text += " It was trained for the time of `all`, which has to be better than this one, too."
    return text
