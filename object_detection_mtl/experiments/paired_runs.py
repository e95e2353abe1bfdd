"""Runs of an ablation: variants, forms, learning rates, seeds, and the config of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection_mtl.config.task_fields import TASK_FIELDS
from object_detection_mtl.experiments.dataset_splits import TRAIN, Dataset

BASELINE = "baseline"
# Fields of `mtl {}` that a variant sets.
TASKS = (*TASK_FIELDS, "refine")
# Name -> the tasks that are on.
VARIANTS: dict[str, tuple[str, ...]] = {
    BASELINE: (),
    "window": ("window",),
    "closeness": ("closeness",),
    "foreground": ("edgemask",),
    "all": ("window", "closeness", "edgemask"),
    "all+refine": ("window", "closeness", "edgemask", "refine"),
    # Ingredients of the refinement: none, each task alone, all but one.
    "refine": ("refine",),
    "window+refine": ("window", "refine"),
    "closeness+refine": ("closeness", "refine"),
    "foreground+refine": ("edgemask", "refine"),
    "closeness+foreground+refine": ("closeness", "edgemask", "refine"),
    "window+foreground+refine": ("window", "edgemask", "refine"),
    "window+closeness+refine": ("window", "closeness", "refine"),
}
# Between a variant and the forms that are applied to it, as in `all+refine@equal`.
FORM_MARK = "@"
# Key of a form that sets the training steps, schedule included.
STEPS = "steps"
WARMUP_SHARE, WARMUP_FACTOR = 0.05, 0.1


class RunError(ValueError):
    """A run with invalid or conflicting options."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        variant: of VARIANTS, then the names of forms, each after FORM_MARK.
        rate: peak learning rate, as written.
        seed: of the run.
        steps: of training.
        overrides: of its forms, `a.b.c=value`.
    """

    variant: str
    rate: str
    seed: int
    steps: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of its directory and, with the split, of its result."""
        return f"{self.variant}__lr{self.rate}__seed{self.seed}"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are on."""
        return VARIANTS[self.variant.split(FORM_MARK)[0]]


def parse_form(text: str) -> tuple[str, dict[str, str]]:
    """Return name and overrides of a form, `NAME=a.b.c=value,d.e=value`.

    A comma separates two overrides only where a field's name and `=` follow.

    Raises:
        RunError: no name, or an override without a value.
    """
    name, _, rest = text.partition("=")
    if not re.fullmatch(r"[\w.+-]+", name) or not rest:
        raise RunError(
            f"--form={text}: expected NAME=a.b.c=value,d.e=value with a name of letters, digits, "
            "'.', '+', '-' and '_'"
        )
    overrides = {}
    for part in re.split(r",(?=[A-Za-z_][\w.\[\]]*=)", rest):
        field, found, value = part.partition("=")
        if not found or not field:
            raise RunError(f"--form={text}: {part!r} is not an override; expected a.b.c=value")
        overrides[field] = value
    return name, overrides


def make_runs(
    variants: Sequence[str],
    rates: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    forms: Mapping[str, Mapping[str, str]],
) -> list[Run]:
    """Return the runs, seed by seed, so that pairs are complete early.

    Args:
        variants: such as `all` or `all@equal`.
        rates: peak learning rates, as written.
        seeds: of the runs.
        steps: of training, unless a form says another number.
        forms: name -> field -> value.

    Raises:
        RunError: an unknown variant or form, or a rate that is no positive number.
    """
    for rate in rates:
        if not re.fullmatch(r"\d*\.?\d+(e-?\d+)?", rate) or float(rate) <= 0:
            raise RunError(f"--learning_rates: {rate!r}; expected positive numbers")
    runs = []
    for seed in seeds:
        for variant in variants:
            overrides = _form_overrides(variant, forms)
            run_steps = int(overrides.pop(STEPS, steps))
            texts = tuple(f"{field}={value}" for field, value in overrides.items())
            runs += [Run(variant, rate, seed, run_steps, texts) for rate in rates]
    return runs


def _form_overrides(variant: str, forms: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    base, *names = variant.split(FORM_MARK)
    if base not in VARIANTS:
        raise RunError(f"--variants: {variant!r}; expected one of {', '.join(VARIANTS)}")
    overrides: dict[str, str] = {}
    for name in names:
        if name not in forms:
            raise RunError(
                f"--variants: {variant!r} names the form {name!r}; give --form={name}=a.b.c=value"
            )
        overrides |= forms[name]
    return overrides


def make_config(
    path: Path, run: Run, dataset: Dataset, weights: str, overrides: Sequence[str] = ()
) -> Any:
    """Return the resolved config of a run.

    Args:
        path: of the config that all runs have in common.
        run: which one.
        dataset: to train on.
        weights: checkpoint to start from; empty for none.
        overrides: of all runs, `a.b.c=value`; a run's own come after them.

    Raises:
        RunError: a schedule that cannot be scaled.
        ConfigError: a wrong config or override.
    """
    from object_detection_mtl.config import pipeline

    values = {
        **{f"model.mtl.{task}": str(task in run.tasks).lower() for task in TASKS},
        "model.faster_rcnn.num_classes": str(len(dataset.classes)),
        "train_config.seed": str(run.seed),
        "train_config.num_steps": str(run.steps),
        "train_config.fine_tune_checkpoint": weights,
        "train_input_reader.tf_record_input_reader.input_path": str(dataset.records[TRAIN]),
        "train_input_reader.label_map_path": str(dataset.label_map),
        "eval_input_reader[0].tf_record_input_reader.input_path": str(dataset.records[TRAIN]),
        "eval_input_reader[0].label_map_path": str(dataset.label_map),
    }
    given = [*(f"{field}={value}" for field, value in values.items()), *overrides, *run.overrides]
    config = pipeline.load(path, given)
    return pipeline.load(path, [*given, *_schedule(config, run)])


def _schedule(config: Any, run: Run) -> list[str]:
    """Return the overrides that set a schedule's peak rate and length."""
    optimizer = config.train_config.optimizer
    kind = optimizer.WhichOneof("optimizer")
    rate = getattr(optimizer, kind).learning_rate
    schedule = rate.WhichOneof("learning_rate")
    prefix = f"train_config.optimizer.{kind}.learning_rate.{schedule}"
    if schedule == "constant_learning_rate":
        return [f"{prefix}.learning_rate={run.rate}"]
    if schedule != "cosine_decay_learning_rate":
        raise RunError(
            f"{prefix}: a schedule that does not follow --steps and --learning_rates; give a "
            "config with cosine_decay_learning_rate or constant_learning_rate"
        )
    values = {
        "learning_rate_base": run.rate,
        "total_steps": run.steps,
        "warmup_steps": max(1, round(WARMUP_SHARE * run.steps)),
        "warmup_learning_rate": f"{WARMUP_FACTOR * float(run.rate):g}",
    }
    return [f"{prefix}.{field}={value}" for field, value in values.items()]
