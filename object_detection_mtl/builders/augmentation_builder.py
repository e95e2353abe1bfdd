"""From preprocessor.proto's PreprocessingStep to augmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from object_detection_mtl.data import augment
from object_detection_mtl.protos import preprocessor_pb2

# One translator per supported step; each takes the message of its step.
_TRANSLATORS: dict[str, Callable[[Any], augment.Augmentation]] = {
    "random_horizontal_flip": lambda step: augment.random_horizontal_flip(step.probability),
}


def supported_steps() -> tuple[str, ...]:
    """Names of the steps that can be built, as they stand in data_augmentation_options."""
    return tuple(_TRANSLATORS)


def build(step: preprocessor_pb2.PreprocessingStep) -> augment.Augmentation:
    """Builds one step of train_config.data_augmentation_options.

    Raises:
      ValueError: the step is empty, not supported (the message lists those that are), or has a
        value out of range.
    """
    name = step.WhichOneof("preprocessing_step")
    if name is None:
        raise ValueError(
            "train_config.data_augmentation_options holds an empty step; expected one of "
            f"{', '.join(_TRANSLATORS)}"
        )
    if name not in _TRANSLATORS:
        raise ValueError(
            f"train_config.data_augmentation_options: {name} is not supported; supported are: "
            f"{', '.join(_TRANSLATORS)}. Remove the step, or use one of these"
        )
    try:
        return _TRANSLATORS[name](getattr(step, name))
    except ValueError as error:
        raise ValueError(f"train_config.data_augmentation_options: {error}") from error


def build_all(
    steps: Iterable[preprocessor_pb2.PreprocessingStep],
) -> tuple[augment.Augmentation, ...]:
    """Builds the steps in their order."""
    return tuple(build(step) for step in steps)
