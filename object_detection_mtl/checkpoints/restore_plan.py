"""Restore plans: values of a checkpoint for the variables of a detector."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from object_detection_mtl.checkpoints.checkpoint_files import (
    CheckpointFile,
    CheckpointValue,
    stored_value,
)

CLASSIFICATION = "classification"
DETECTION = "detection"
FULL = "full"
CHECKPOINT_TYPES = (CLASSIFICATION, DETECTION, FULL)
FIRST_STAGE = "FirstStageFeatureExtractor/"
SECOND_STAGE = "SecondStageFeatureExtractor/"
FEATURE_EXTRACTORS = (FIRST_STAGE, SECOND_STAGE)
# Variables other than weights, such as the state of a random generator: loaded where a file has
# them, never required.
UNNAMED_SCOPE = "unnamed"


@dataclass(frozen=True)
class RestoreRequest:
    """Request for a checkpoint; see `restore.restore` for the fields."""

    checkpoint_type: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    use_moving_averages: bool = False
    load_what_fits: bool = False


@dataclass(frozen=True)
class RestorePlan:
    """Values of a checkpoint for a detector.

    Attributes:
        description: description of the checkpoint, for messages.
        values: the detector's variable name -> its new value.
        wanted: names of the variables that this kind of restore must load.
        weights: the checkpoint's model variables, without those of its training.
    """

    description: str
    values: dict[str, CheckpointValue]
    wanted: frozenset[str]
    weights: frozenset[str]


@dataclass(frozen=True)
class CheckpointSource:
    """A kind of checkpoint.

    Attributes:
        title: short description.
        recognizes: whether a file is of this kind.
        networks: the feature extractors in a file, by the names that detectors use.
        is_detector: whether a file contains a whole detector.
        plan: (checkpoint, the detector's variables by name in the order of its layers, request) ->
            restore plan.
    """

    title: str
    recognizes: Callable[[CheckpointFile], bool]
    networks: Callable[[CheckpointFile], set[str]]
    is_detector: Callable[[CheckpointFile], bool]
    plan: Callable[[CheckpointFile, Mapping[str, Any], RestoreRequest], RestorePlan]


def network_of(names: Collection[str]) -> str:
    """Return the network of a detector, by the names of its variables."""
    return next(name for name in names if name.startswith(FIRST_STAGE)).split("/")[1]


def backbone_names(names: Iterable[str], network: str, exclude: tuple[str, ...] = ()) -> list[str]:
    """Return the names of all copies of the network's parts, without the scopes `exclude`."""
    return [name for name in names if f"/{network}/" in name and not name.startswith(exclude)]


def detector_names(names: Iterable[str], request: RestoreRequest) -> dict[str, str]:
    """Return name of each variable to load from a detector's checkpoint -> its name there.

    The two differ for heads with their own copy of the second stage. If the head is not requested,
    its copy starts from the second stage, as with a classifier.

    Args:
        names: all of a detector's.
        request: selects the heads.
    """
    names = [name for name in names if not name.startswith(f"{UNNAMED_SCOPE}/")]
    if request.checkpoint_type == FULL:
        return {name: name for name in names}
    scopes = FEATURE_EXTRACTORS + request.include
    network = network_of(names)
    found = {}
    for name in names:
        if name.startswith(scopes):
            found[name] = name
        elif f"/{network}/" in name and not name.startswith(request.exclude):
            found[name] = SECOND_STAGE + name.split("/", 1)[1]
    return found


def stored_values(
    checkpoint: CheckpointFile, keys: Mapping[str, tuple[str, str]], request: RestoreRequest
) -> dict[str, CheckpointValue]:
    """Return name -> stored value, for the names in the file.

    Args:
        checkpoint: the file.
        keys: name -> key of the variable, key of its moving average.
        request: selects weights or moving averages. Variables that are not trained have no average.
    """
    values = {}
    for name, (key, average) in keys.items():
        if request.use_moving_averages and average in checkpoint.shapes:
            values[name] = replace(stored_value(checkpoint, average), keys=(average, key))
        elif key in checkpoint.shapes:
            values[name] = stored_value(checkpoint, key)
    return values


def require_classification(checkpoint: CheckpointFile, what: str, request: RestoreRequest) -> None:
    """Refuse the types that need a detector's checkpoint."""
    if request.checkpoint_type in (DETECTION, FULL):
        raise ValueError(
            f"fine_tune_checkpoint_type {request.checkpoint_type!r} needs a detector's checkpoint; "
            f'{checkpoint.prefix!r} is a {what}: use "classification" '
            "(or from_detection_checkpoint: false)"
        )


def require_detection(checkpoint: CheckpointFile, request: RestoreRequest) -> None:
    """Refuse the type that needs a classifier's checkpoint."""
    if request.checkpoint_type == CLASSIFICATION:
        raise ValueError(
            f"fine_tune_checkpoint_type 'classification' needs an ImageNet classifier; "
            f"{checkpoint.prefix!r} is a detector: use 'detection' or 'full' "
            "(or from_detection_checkpoint: true)"
        )


def require_network(checkpoint: CheckpointFile, in_file: Collection[str], network: str) -> None:
    """Refuse a checkpoint of another architecture."""
    if network not in in_file:
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} is of another architecture, "
            f"{', '.join(sorted(in_file))}; the model's feature extractor is {network}"
            + _other_form(in_file, network)
        )


def _other_form(in_file: Collection[str], network: str) -> str:
    """Return a hint if only the form of the file's network differs."""
    suffix = "_keras"
    if network + suffix in in_file:
        return f". The OD API's TensorFlow 2 form of it is the feature extractor type ...{suffix}"
    if network.endswith(suffix) and network[: -len(suffix)] in in_file:
        return f". The TF-Slim form of it is the feature extractor type without {suffix}"
    return ""


def require_averages(
    checkpoint: CheckpointFile, has_averages: bool, request: RestoreRequest
) -> None:
    """Refuse a request for moving averages that the file lacks."""
    if request.use_moving_averages and not has_averages:
        raise ValueError(
            f"use_moving_averages is true, but checkpoint {checkpoint.prefix!r} holds no moving "
            "averages; train with train_config.optimizer.use_moving_average: true"
        )
