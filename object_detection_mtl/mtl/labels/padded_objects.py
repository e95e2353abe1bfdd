"""Padded boxes and classes: which rows are objects.

Shape letters: N boxes, K classes without background, ... any leading dimensions (the batch).

Annotations come from users, so every row may be wrong. A row is an object if
- it is not padding: its number is below `num_boxes`, `valid` is true there, its class is not 0;
- its class is 1..K (eagerly another class is a ValueError: num_classes or the label map is wrong);
- its coordinates are finite and in order, ymin <= ymax and xmin <= xmax.
Every other row counts as padding. A box without area, or outside the image, is an object; the
docstring of each label describes the effect.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

Array: TypeAlias = tf.Tensor | np.ndarray | list | tuple


def as_floats(values: Array) -> tf.Tensor:
    """Return a floating-point tensor.

    Tensors and arrays of floats keep their type; integers and Python numbers become float64.
    """
    tensor: Any = values
    if not tf.is_tensor(values):
        tensor = tf.convert_to_tensor(np.asarray(values, np.result_type(np.asarray(values), 0.0)))
    return tensor if tensor.dtype.is_floating else tf.cast(tensor, tf.float64)


def as_boxes(values: Array, what: str) -> tf.Tensor:
    """Return `as_floats` of boxes [..., N, 4]; an empty list is N = 0.

    Args:
        values: the boxes.
        what: their name, for the error.

    Raises:
        ValueError: another shape.
    """
    if not tf.is_tensor(values) and np.asarray(values).shape == (0,):
        values = np.zeros([0, 4])
    boxes = as_floats(values)
    if boxes.shape.rank is None or boxes.shape.rank < 2 or boxes.shape[-1] not in (4, None):
        raise ValueError(f"{what} have the shape {boxes.shape}, expected [..., number, 4].")
    return boxes


def as_classes(values: Array, num_classes: int) -> tf.Tensor:
    """Return int32 classes [..., N].

    Args:
        values: the classes.
        num_classes: K.

    Raises:
        ValueError: num_classes is less than 1; eagerly, a class is not in 0..K.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected at least 1.")
    classes = tf.cast(values if tf.is_tensor(values) else np.asarray(values), tf.int32)
    if isinstance(classes, tf.__internal__.EagerTensor):
        numbers = classes.numpy()
        wrong = numbers[(numbers < 0) | (numbers > num_classes)]
        if wrong.size:
            raise ValueError(
                f"The classes {sorted(set(wrong.tolist()))} are not among 1 to {num_classes} "
                "(0 is padding): num_classes and the label map that numbered the boxes disagree."
            )
    return classes


def are_objects(
    boxes: tf.Tensor,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
    classes: tf.Tensor | None = None,
    num_classes: int | None = None,
) -> tf.Tensor:
    """Return bool [..., N], the rows that are objects, see the module's docstring.

    Args:
        boxes: [..., N, 4].
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], false for padding.
        classes: int32 [..., N], together with num_classes.
        num_classes: K.
    """
    finite = tf.reduce_all(tf.math.is_finite(boxes), axis=-1)
    ordered = tf.reduce_all(boxes[..., :2] <= boxes[..., 2:], axis=-1)
    objects = finite & ordered
    if num_boxes is not None:
        objects &= tf.sequence_mask(num_boxes, tf.shape(boxes)[-2])
    if valid is not None:
        objects &= tf.cast(valid, tf.bool)
    if classes is not None:
        objects &= (classes >= 1) & (classes <= num_classes)
    return objects


def in_float64(boxes: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
    """Return boxes [..., N, 4] in float64, with zeros, which have no area, in rows of padding."""
    boxes = tf.cast(boxes, tf.float64)
    return tf.where(objects[..., tf.newaxis], boxes, tf.zeros_like(boxes))
