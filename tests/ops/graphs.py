"""Run a function in a graph without static sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def call_with_unknown_sizes(function: Callable, *arrays, known_axes: int = 1):
    """function(*arrays) inside a tf.function; only the last known_axes of each array are known."""
    arrays = [tf.convert_to_tensor(array) for array in arrays]
    signature = [
        tf.TensorSpec(
            [
                size if axis >= array.shape.rank - known_axes else None
                for axis, size in enumerate(array.shape)
            ],
            array.dtype,
        )
        for array in arrays
    ]
    return tf.function(function, input_signature=signature, autograph=False)(*arrays)


def random_boxes(rng: np.random.RandomState, *shape: int, size: float = 1.0) -> np.ndarray:
    """float32 [*shape, 4], sides between 0.1 and 0.6 of `size`, partly outside [0, size]."""
    center = rng.uniform(0, size, (*shape, 2))
    half = rng.uniform(0.05, 0.3, (*shape, 2)) * size
    return np.concatenate([center - half, center + half], axis=-1).astype(np.float32)
