"""Hyperparameters and TF1 names of predictor layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf


def default_initializer() -> dict[str, Any]:
    """Return the truncated normal of the OD API's `Hyperparams` (stddev 0.03)."""
    return {"class_name": "TruncatedNormal", "config": {"stddev": 0.03}}


@dataclass(frozen=True)
class LayerHyperparams:
    """Initializer, regularizer and activation of a group of layers.

    Initializer and regularizer are Keras descriptions (dicts), so that no two layers share a random
    seed; `activation` is a function on tensors or None.
    """

    initializer: dict[str, Any] = field(default_factory=default_initializer)
    regularizer: dict[str, Any] | None = None
    activation: Callable[[tf.Tensor], tf.Tensor] | None = None

    def kernel_options(self) -> dict[str, Any]:
        """Return the keyword arguments of a Keras layer's kernel."""
        return {
            "kernel_initializer": keras.initializers.get(self.initializer),
            "kernel_regularizer": keras.regularizers.get(self.regularizer),
        }


def linear_names(
    prefix: str, layers: tuple[keras.layers.Layer | None, ...]
) -> dict[str, keras.Variable]:
    """Return name -> variable: `<prefix>/<layer>/weights` and `/biases` of layers."""
    names: dict[str, keras.Variable] = {}
    for layer in layers:
        if layer is not None:
            names[f"{prefix}/{layer.name}/weights"] = layer.kernel
            if layer.bias is not None:
                names[f"{prefix}/{layer.name}/biases"] = layer.bias
    return names
