"""Loading weights into a detector from a checkpoint of another training run.

Which kind of checkpoint it is, is read from the names in it; every kind is one `Source` with its
own name map. Whatever happens is accounted for in a `Report`: nothing stays random in silence.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from object_detection_mtl.checkpoints import native, slim
from object_detection_mtl.checkpoints.files import (
    CheckpointFile,
    Value,
    open_checkpoint,
    stored_value,
)

CLASSIFICATION = "classification"
DETECTION = "detection"
FULL = "full"
CHECKPOINT_TYPES = (CLASSIFICATION, DETECTION, FULL)
FEATURE_EXTRACTORS = ("FirstStageFeatureExtractor/", "SecondStageFeatureExtractor/")


@dataclass(frozen=True)
class Report:
    """What a restore did, by variable name.

    Attributes:
        source: kind of checkpoint.
        loaded: the detector's variables that got a value.
        missing: its variables that were asked for and are not in the checkpoint.
        unused: the checkpoint's variables that went nowhere.
        mismatched: variables whose shapes differ, as `name: file's shape, model's shape`.
        kept: the detector's variables that this kind of restore leaves as they are.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    kept: tuple[str, ...] = ()

    def table(self) -> str:
        """A line per group: how many, and the first names."""
        rows = (
            ("loaded", self.loaded),
            ("missing in the checkpoint", self.missing),
            ("of another shape", self.mismatched),
            ("left as initialised", self.kept),
            ("unused in the checkpoint", self.unused),
        )
        lines = [f"weights from a {self.source}"]
        lines += [f"  {title:<26}{len(names):5d}  {_some(names)}" for title, names in rows if names]
        return "\n".join(lines)


@dataclass(frozen=True)
class Plan:
    """What a source offers for a detector.

    Attributes:
        description: of the checkpoint, for messages.
        values: the detector's variable name -> its new value.
        wanted: names that this kind of restore must fill.
        weights: the checkpoint's variables that are a model's; the rest is of its training.
    """

    description: str
    values: dict[str, Value]
    wanted: frozenset[str]
    weights: frozenset[str]


@dataclass(frozen=True)
class Request:
    """What the caller wants of a checkpoint; see `restore` for the fields."""

    checkpoint_type: str
    include: tuple[str, ...]
    use_moving_averages: bool


@dataclass(frozen=True)
class Source:
    """A kind of checkpoint: how to know it, and what it has for a detector's names."""

    recognises: Callable[[CheckpointFile], bool]
    plan: Callable[[CheckpointFile, Collection[str], Request], Plan]


def restore(
    detector: Any,
    path: str | os.PathLike[str],
    *,
    checkpoint_type: str = "",
    include: Iterable[str] = (),
    use_moving_averages: bool = False,
    verbose: bool = True,
) -> Report:
    """Assigns a checkpoint's weights to a detector's variables.

    Args:
        detector: a `TwoStageDetector`; all its variables exist.
        path: prefix of a checkpoint, or a directory whose newest checkpoint is meant.
        checkpoint_type: the OD API's words. `classification`: an ImageNet classifier into every
            copy of the backbone. `detection`: both stages' feature extractors of a detector, for
            any number of classes. `full`: every variable of the same model. Empty: what fits the
            checkpoint, `classification` or `detection`.
        include: with `detection`, further scopes to load, such as `SecondStageBoxPredictor`.
        use_moving_averages: take the averages that the optimizer kept, where it kept one.
        verbose: print the report's table.

    Raises:
        FileNotFoundError, ValueError: no readable checkpoint at `path`; nothing in it fits; a
            shape differs; `full` with a variable missing; a type that the checkpoint cannot serve.
    """
    if checkpoint_type and checkpoint_type not in CHECKPOINT_TYPES:
        raise ValueError(
            f"fine_tune_checkpoint_type {checkpoint_type!r} is unknown; "
            f"expected one of {', '.join(CHECKPOINT_TYPES)} or nothing"
        )
    checkpoint = open_checkpoint(path)
    variables = native.named_variables(detector)
    request = Request(checkpoint_type, tuple(include), use_moving_averages)
    plan = _source(checkpoint).plan(checkpoint, variables, request)
    report = _account(plan, {name: v.shape for name, v in variables.items()})
    _refuse_bad(report, checkpoint, plan, checkpoint_type)
    # Read everything before the first assignment: a damaged file leaves the detector as it was.
    arrays = {name: plan.values[name].load() for name in report.loaded}
    for name, array in arrays.items():
        variables[name].assign(array)
    logging.getLogger(__name__).info("restored %s\n%s", checkpoint.prefix, report.table())
    if verbose:
        print(f"{checkpoint.prefix}: {report.table()}", flush=True)
    return report


def _source(checkpoint: CheckpointFile) -> Source:
    for source in SOURCES:
        if source.recognises(checkpoint):
            return source
    kind = "object-based" if checkpoint.is_object_based else "name-based"
    raise ValueError(
        f"checkpoint {checkpoint.prefix!r} ({kind}, variables such as "
        f"{_some(tuple(sorted(checkpoint.shapes)))}) is neither a checkpoint of this package's "
        "training nor a TF-Slim classifier"
    )


def _account(plan: Plan, shapes: dict[str, Iterable[int]]) -> Report:
    """Sorts every variable of the detector and of the checkpoint into one group."""
    loaded: list[str] = []
    mismatched: list[str] = []
    used: set[str] = set()
    for name, value in plan.values.items():
        used.update(value.keys)
        expected = tuple(shapes[name])
        if value.shape == expected:
            loaded.append(name)
        else:
            mismatched.append(f"{name}: {list(value.shape)}, {list(expected)}")
    return Report(
        source=plan.description,
        loaded=tuple(loaded),
        missing=tuple(sorted(plan.wanted - plan.values.keys())),
        unused=tuple(sorted(plan.weights - used)),
        mismatched=tuple(mismatched),
        kept=tuple(name for name in shapes if name not in plan.wanted),
    )


def _refuse_bad(
    report: Report, checkpoint: CheckpointFile, plan: Plan, checkpoint_type: str
) -> None:
    if report.mismatched:
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} is of another model: {len(report.mismatched)} "
            "variables have another shape there (name: shape in the checkpoint, in the model): "
            f"{_some(report.mismatched)}"
        )
    if not report.loaded:
        raise ValueError(
            f"nothing in checkpoint {checkpoint.prefix!r} ({plan.description}) fits the model: it "
            f"has {_some(sorted(plan.weights))}, the model wants {_some(report.missing)}"
        )
    if checkpoint_type == FULL and report.missing:
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} lacks {len(report.missing)} variables of the model: "
            f'{_some(report.missing)}; fine_tune_checkpoint_type: "detection" loads the feature '
            "extractors alone"
        )


def _plan_slim(checkpoint: CheckpointFile, names: Collection[str], request: Request) -> Plan:
    """An ImageNet classifier: its variables into every copy of the network."""
    network = slim.network_of(names)
    in_file = slim.networks(checkpoint)
    if request.checkpoint_type in (DETECTION, FULL):
        raise ValueError(
            f"fine_tune_checkpoint_type {request.checkpoint_type!r} needs a detector's checkpoint; "
            f"{checkpoint.prefix!r} is a TF-Slim classifier ({', '.join(sorted(in_file))}): "
            'use "classification" (or from_detection_checkpoint: false)'
        )
    _refuse_other_architecture(checkpoint, in_file, network)
    _refuse_averages(request, checkpoint)
    return Plan(
        description=f"TF-Slim classifier {network}",
        values=slim.values(checkpoint, names, network),
        wanted=frozenset(name for name in names if f"/{network}/" in name),
        weights=frozenset(checkpoint.shapes),
    )


def _plan_native(checkpoint: CheckpointFile, names: Collection[str], request: Request) -> Plan:
    """A checkpoint of this package's training: the same names."""
    if request.checkpoint_type == CLASSIFICATION:
        raise ValueError(
            f"fine_tune_checkpoint_type 'classification' needs an ImageNet classifier; "
            f"{checkpoint.prefix!r} is a detector: use 'detection' or 'full'"
        )
    _refuse_other_architecture(checkpoint, native.networks(checkpoint), slim.network_of(names))
    if not native.has_averages(checkpoint):
        _refuse_averages(request, checkpoint)
    scopes = FEATURE_EXTRACTORS + request.include
    wanted = [name for name in names if request.checkpoint_type == FULL or name.startswith(scopes)]
    values = {}
    for name in wanted:
        key = native.checkpoint_key(native.MODEL_ROOT, name)
        average = native.checkpoint_key(native.AVERAGE_ROOT, name)
        if request.use_moving_averages and average in checkpoint.shapes:
            values[name] = replace(stored_value(checkpoint, average), keys=(average, key))
        elif key in checkpoint.shapes:
            values[name] = stored_value(checkpoint, key)
    return Plan(
        description="checkpoint of this package",
        values=values,
        wanted=frozenset(wanted),
        weights=frozenset(key for key in checkpoint.shapes if key.startswith("model/")),
    )


def _refuse_other_architecture(
    checkpoint: CheckpointFile, in_file: Collection[str], network: str
) -> None:
    if network not in in_file:
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} is of another architecture, "
            f"{', '.join(sorted(in_file))}; the model's feature extractor is {network}"
        )


def _refuse_averages(request: Request, checkpoint: CheckpointFile) -> None:
    if request.use_moving_averages:
        raise ValueError(
            f"use_moving_averages is true, but checkpoint {checkpoint.prefix!r} holds no moving "
            "averages; train with train_config.optimizer.use_moving_average: true"
        )


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = tuple(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


SOURCES = (
    Source(native.is_native, _plan_native),
    Source(slim.is_classifier, _plan_slim),
)
