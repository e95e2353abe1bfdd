"""Checks that tasks and labels of other programs keep to their interfaces."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Predictions, values_of
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask, Tensors
from object_detection_mtl.mtl.task_labels import TaskLabels

_METHODS = tuple(
    name
    for name, value in vars(AuxiliaryTask).items()
    if inspect.isfunction(value) and not name.startswith("_")
)
_ATTRIBUTES = tuple(AuxiliaryTask.__annotations__)
_KEY_TUPLES = ("labels", "optional_labels", "outputs")
_DETECTOR_LOSSES = (
    Losses.rpn_localization,
    Losses.rpn_objectness,
    Losses.box_localization,
    Losses.box_classification,
    Losses.refined_classification,
)


_DETECTOR_PREDICTIONS = values_of(Predictions) - {
    Predictions.windows,
    Predictions.expanded_windows,
    Predictions.closeness,
    Predictions.edgemask,
}


def check_registration(name: str, build: Any, labels: Any) -> None:
    """Raise ValueError if the arguments of a registration have the wrong types."""
    if not callable(build):
        raise ValueError(
            f"task {name!r}: build is {build!r}; expected a function or a class that takes the "
            "parts of the detector and returns the task"
        )
    if not isinstance(labels, TaskLabels):
        example = f" Write {labels.__name__}()." if isinstance(labels, type) else ""
        raise ValueError(
            f"task {name!r}: labels is {labels!r}; expected an instance of a subclass of "
            f"mtl.task_labels.TaskLabels.{example}"
        )


def check_task(name: str, task: Any, label_keys: Collection[str]) -> None:
    """Raise ValueError if an object is not an `AuxiliaryTask`.

    Args:
        name: registered name.
        task: result of its `build`.
        label_keys: keys of the `TaskLabels` that were registered with it.
    """
    if not isinstance(task, keras.layers.Layer):
        raise ValueError(
            f"task {name!r}: build returned {task!r}; expected a keras.layers.Layer with the "
            "methods of mtl.auxiliary_task.AuxiliaryTask"
        )
    kind = type(task).__name__
    missing = [f"{key}()" for key in _METHODS if not callable(getattr(task, key, None))]
    missing += [key for key in _ATTRIBUTES if not hasattr(task, key)]
    if missing:
        raise ValueError(
            f"task {name!r}: {kind} has no {', '.join(missing)}; add what "
            "mtl.auxiliary_task.AuxiliaryTask describes"
        )
    for attribute in _KEY_TUPLES:
        value = getattr(task, attribute)
        if isinstance(value, str) or not all(isinstance(key, str) for key in value):
            raise ValueError(
                f"task {name!r}: {kind}.{attribute} is {value!r}; expected a tuple of keys, "
                f"such as ({value!r},)"
            )
    if not isinstance(task.loss_weights, Mapping):
        raise ValueError(
            f"task {name!r}: {kind}.loss_weights is {task.loss_weights!r}; expected a dictionary "
            "from the key of each loss to its weight"
        )
    known = {*label_keys, *values_of(Groundtruth)}
    unknown = [key for key in task.labels if key not in known]
    if unknown:
        raise ValueError(
            f"task {name!r}: {kind}.labels has {unknown[0]!r}, which its labels do not make; their "
            f"specs have {', '.join(sorted(label_keys)) or 'no keys'}"
        )
    wrong = [key for key in task.tf1_variables() if not key.startswith(f"{name}/")]
    if wrong:
        raise ValueError(
            f"the task {name!r} names a variable {wrong[0]!r}; expected names that begin with "
            f'"{name}/", by which checkpoints find them. Change its tf1_variables'
        )


def check_together(tasks: Iterable[AuxiliaryTask]) -> None:
    """Raise ValueError if two tasks share a name or a loss, or one has a loss of the detector."""
    names: set[str] = set()
    losses = dict.fromkeys(_DETECTOR_LOSSES, "the detector")
    for task in tasks:
        if task.name in names:
            raise ValueError(
                f"two auxiliary tasks have the layer name {task.name!r}; give each its own in "
                "super().__init__(name=...)"
            )
        names.add(task.name)
        for key in task.loss_weights:
            if key in losses:
                raise ValueError(
                    f"task {task.name!r}: {losses[key]} has a loss {key!r}, too; give the loss a "
                    "key of its own, in loss_weights and loss"
                )
            losses[key] = f"task {task.name!r}"


def check_predictions(task: AuxiliaryTask, made: Tensors, others: Collection[str]) -> None:
    """Raise ValueError if a task returns a key of the detector or of another task.

    Args:
        task: the task.
        made: result of its `predict`.
        others: keys of the other tasks' predictions.
    """
    taken = sorted(made.keys() & {*_DETECTOR_PREDICTIONS, *others})
    if taken:
        raise ValueError(
            f"task {task.name!r}: predict returned {taken[0]!r}, a key of the detector or of "
            "another task; choose another key"
        )


def check_width(task: AuxiliaryTask, logits: tf.Tensor) -> tf.Tensor:
    """Return a task's auxiliary logits; raise ValueError if they are not [B, R, width]."""
    if logits.shape.rank != 3 or logits.shape[-1] not in (None, task.auxiliary_width):
        raise ValueError(
            f"task {task.name!r}: auxiliary_logits returned the shape {logits.shape}; expected "
            f"[batch, proposals, {task.auxiliary_width}], where {task.auxiliary_width} is its "
            "auxiliary_width"
        )
    return logits


def check_losses(task: AuxiliaryTask, terms: Tensors) -> Tensors:
    """Return a task's losses; raise ValueError unless they are scalars with a weight each."""
    if terms.keys() != task.loss_weights.keys():
        raise ValueError(
            f"task {task.name!r}: loss returned {sorted(terms)}, but loss_weights has "
            f"{sorted(task.loss_weights)}; both must have the same keys"
        )
    for key, value in terms.items():
        if value.shape.rank:
            raise ValueError(
                f"task {task.name!r}: the loss {key!r} has the shape {value.shape}; expected a "
                "scalar, the mean over the images of the batch"
            )
    return terms


def check_metrics(task: AuxiliaryTask, found: Tensors) -> Tensors:
    """Return a task's metrics; raise ValueError unless each is a sum and a count."""
    for key, value in found.items():
        if not value.shape.is_compatible_with([2]):
            raise ValueError(
                f"task {task.name!r}: the metric {key!r} has the shape {value.shape}; expected "
                "(2,): a sum and the count by which an evaluation divides it"
            )
    return found
