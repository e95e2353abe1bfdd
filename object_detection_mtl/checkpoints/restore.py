"""Restore a detector's weights from a checkpoint of another run.

The format of a checkpoint is detected from its variable names. Every format is a `CheckpointSource`
with its own name map (`checkpoint_sources.py`). A `RestoreReport` accounts for every variable of
both sides.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from absl import logging

from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_files import CheckpointFile
from object_detection_mtl.checkpoints.checkpoint_sources import open_any, source_of
from object_detection_mtl.checkpoints.restore_plan import (
    CHECKPOINT_TYPES,
    CLASSIFICATION,
    DETECTION,
    FEATURE_EXTRACTORS,
    FULL,
    RestorePlan,
    RestoreRequest,
)
from object_detection_mtl.checkpoints.restore_report import RestoreReport, first_names

__all__ = ["CLASSIFICATION", "DETECTION", "FULL", "RestoreReport", "preview_restore", "restore"]

# Sized by anchors, not by classes.
REGION_PROPOSALS = "FirstStageBoxPredictor/"


def restore(
    detector: Any,
    path: str | os.PathLike[str],
    *,
    checkpoint_type: str = "",
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    use_moving_averages: bool = False,
    load_what_fits: bool = False,
    verbose: bool = True,
) -> RestoreReport:
    """Assign a checkpoint's weights to a detector's variables.

    Args:
        detector: a `TwoStageDetector`; all its variables exist.
        path: prefix of a checkpoint; a directory, which means its newest checkpoint; a file of
            Keras weights; or the word "imagenet" (see `keras_applications.py`).
        checkpoint_type: as in the OD API. `classification`: an ImageNet classifier into every
            copy of the backbone. `detection`: both stages' feature extractors of a detector, for
            any number of classes; the second one's into every copy of it. `full`: every variable
            of the same model. Empty: what fits the checkpoint, `classification` or `detection`.
        include: with `detection`, further scopes to load, such as `SecondStageBoxPredictor`; what
            is sized for another number of classes is skipped.
        exclude: scopes whose copy of the backbone stays as initialized.
        use_moving_averages: load the averages that the optimizer kept, where it kept one.
        load_what_fits: with `detection`, heads that are missing in the checkpoint or have another
            shape there stay as initialized; the report names them.
        verbose: print the report's table.

    Returns:
        The group of every variable.

    Raises:
        FileNotFoundError, ValueError: no readable checkpoint at `path`; nothing in it fits; a
            shape differs; a variable that was asked for is missing; a type that the checkpoint
            cannot serve.
    """
    request = RestoreRequest(
        checkpoint_type, tuple(include), tuple(exclude), use_moving_averages, load_what_fits
    )
    variables = native.named_variables(detector)
    checkpoint = open_any(path, variables)
    plan, report = _plan(checkpoint, variables, request)
    _refuse_bad(report, checkpoint, plan, request)
    # Read everything before the first assignment: a corrupt file leaves the detector as it was.
    # Reading twice costs less than holding a large model's weights three times.
    for name in report.loaded:
        plan.values[name].load()
    for name in report.loaded:
        variables[name].assign(plan.values[name].load())
    if verbose:
        print(f"{checkpoint.prefix}: {report.table(full=logging.level_debug())}", flush=True)
    else:
        logging.info("restored %s\n%s", checkpoint.prefix, report.table())
    return report


def preview_restore(
    detector: Any, checkpoint: CheckpointFile, request: RestoreRequest
) -> RestoreReport:
    """Return the report of a restore without assigning, including what `restore` would refuse.

    Raises:
        ValueError: an unknown kind of checkpoint, a type that it cannot serve, another network.
    """
    return _plan(checkpoint, native.named_variables(detector), request)[1]


def _plan(
    checkpoint: CheckpointFile, variables: Mapping[str, Any], request: RestoreRequest
) -> tuple[RestorePlan, RestoreReport]:
    if request.checkpoint_type and request.checkpoint_type not in CHECKPOINT_TYPES:
        raise ValueError(
            f"fine_tune_checkpoint_type {request.checkpoint_type!r} is unknown; "
            f"expected one of {', '.join(CHECKPOINT_TYPES)} or nothing"
        )
    plan = source_of(checkpoint).plan(checkpoint, variables, request)
    return plan, _account(plan, {name: v.shape for name, v in variables.items()}, request)


def _account(
    plan: RestorePlan, shapes: Mapping[str, Iterable[int]], request: RestoreRequest
) -> RestoreReport:
    """Sort every variable of the detector and of the checkpoint into one group."""
    loaded: list[str] = []
    mismatched: list[str] = []
    skipped: list[str] = []
    used: set[str] = set()
    for name, value in plan.values.items():
        used.update(value.keys)
        expected = tuple(shapes[name])
        if value.shape == expected:
            loaded.append(name)
        else:
            group = skipped if _may_differ(name, request) else mismatched
            group.append(f"{name}: {list(value.shape)}, {list(expected)}")
    missing = sorted(plan.wanted - plan.values.keys())
    if request.load_what_fits:
        skipped += [f"{name}: not in the checkpoint" for name in missing if _is_optional(name)]
        missing = [name for name in missing if not _is_optional(name)]
    return RestoreReport(
        source=plan.description,
        loaded=tuple(loaded),
        missing=tuple(missing),
        unused=tuple(sorted(plan.weights - used)),
        mismatched=tuple(mismatched),
        skipped=tuple(skipped),
        kept=tuple(name for name in shapes if name not in plan.wanted | plan.values.keys()),
    )


def _is_optional(name: str) -> bool:
    """Return whether `load_what_fits` allows a variable to stay as it is."""
    return not name.startswith(FEATURE_EXTRACTORS)


def _may_differ(name: str, request: RestoreRequest) -> bool:
    """Return whether a layer's size depends on the number of classes, so that it may differ."""
    if request.load_what_fits and _is_optional(name):
        return True
    is_head = not name.startswith((*FEATURE_EXTRACTORS, REGION_PROPOSALS))
    return request.checkpoint_type != FULL and is_head and name.count("/") == 2


def _refuse_bad(
    report: RestoreReport, checkpoint: CheckpointFile, plan: RestorePlan, request: RestoreRequest
) -> None:
    if report.mismatched:
        hint = (
            '. fine_tune_checkpoint_type: "detection" loads the feature extractors alone'
            if request.checkpoint_type == FULL
            else ""
        )
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} belongs to another model: {len(report.mismatched)} "
            "variables have another shape there (name: shape in the checkpoint, in the model): "
            f"{first_names(report.mismatched)}{hint}"
        )
    if not report.loaded:
        raise ValueError(
            f"no variable of checkpoint {checkpoint.prefix!r} ({plan.description}) is in the "
            f"model: it has {first_names(sorted(plan.weights))}, the model expects "
            f"{first_names(sorted(plan.wanted))}"
        )
    if report.missing:
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} ({plan.description}) lacks {len(report.missing)} of "
            f"the {len(plan.wanted)} requested variables of the model: "
            f"{first_names(report.missing)}. {_advice(report.missing, request)}"
        )


def _advice(missing: Iterable[str], request: RestoreRequest) -> str:
    """Return what to set when a checkpoint lacks requested variables."""
    if request.checkpoint_type == FULL:
        return 'fine_tune_checkpoint_type: "detection" loads the feature extractors alone'
    heads = sorted({n.split("/")[0] for n in missing if n.startswith(request.include or ("\0",))})
    if heads:
        return (
            f"If it was trained without {', '.join(heads)}, do not request them: remove the "
            "restore_... field from train_config"
        )
    return "The checkpoint is of another version of the network; give one of the same version"
