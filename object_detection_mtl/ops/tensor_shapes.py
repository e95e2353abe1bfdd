"""Tensor sizes as integers where they are static."""

from __future__ import annotations

from typing import TypeAlias

import tensorflow as tf

Size: TypeAlias = tf.Tensor | int


def size(values: tf.Tensor, axis: int) -> Size:
    """Return the size of an axis, as an integer where it is known."""
    return values.shape[axis] if values.shape[axis] is not None else tf.shape(values)[axis]


def smallest(first: Size, second: Size) -> Size:
    """Return the smaller of two sizes."""
    if isinstance(first, int) and isinstance(second, int):
        return min(first, second)
    return tf.minimum(first, second)


def merge_last_axes(values: tf.Tensor) -> tf.Tensor:
    """Return values [B, m, n] as [B, m * n]."""
    return tf.reshape(values, [tf.shape(values)[0], size(values, 1) * size(values, 2)])
