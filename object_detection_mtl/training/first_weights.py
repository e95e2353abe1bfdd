"""Initial weights from the run's seed and each variable's name.

Keras draws a layer's weights from a global generator, in the order in which layers are made, so
enabling a task would change the weights of every layer made after it. Here the initial values
depend only on `train_config.seed` and the name in checkpoints, so models with and without a task
start from the same weights for every variable that they share.
"""

from __future__ import annotations

import hashlib
from typing import Any

import keras

from object_detection_mtl.checkpoints import native

# Attributes of the variables that a layer draws with its `kernel_initializer`.
_KERNELS = ("kernel", "depthwise_kernel")


def draw(detector: keras.layers.Layer, seed: int) -> None:
    """Draw every kernel of a detector again, by its name; all other variables are constants.

    Args:
        detector: built; its layers keep their initializers as `kernel_initializer`.
        seed: seed of the run.
    """
    initializers = _initializers(detector)
    for name, variable in native.named_variables(detector).items():
        initializer = initializers.get(id(variable))
        if initializer is not None:
            seeded = _with_seed(initializer, variable_seed(seed, name))
            variable.assign(seeded(tuple(variable.shape), dtype=variable.dtype))


def variable_seed(seed: int, name: str) -> int:
    """Return the seed of a variable's initializer, in [0, 2**31).

    Args:
        seed: seed of the run.
        name: name of the variable in checkpoints, such as `FirstStageBoxPredictor/Conv/weights`.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


def _initializers(detector: keras.layers.Layer) -> dict[int, Any]:
    """Return the initializer of every kernel, by the variable's `id`."""
    found = {}
    for layer in detector._flatten_layers():
        initializer = getattr(layer, "kernel_initializer", None)
        if initializer is None:  # Keras' depthwise convolutions
            initializer = getattr(layer, "depthwise_initializer", None)
        for attribute in _KERNELS if initializer is not None else ():
            variable = getattr(layer, attribute, None)
            if variable is not None:
                found[id(variable)] = initializer
    return found


def _with_seed(initializer: Any, seed: int) -> Any:
    """Return the same initializer with `seed`; a constant one has none and stays as it is."""
    config = initializer.get_config()
    if "seed" not in config:
        return initializer
    return type(initializer).from_config({**config, "seed": seed})
