"""Soft labels of windows and closeness labels of objects.

Shape letters: N boxes, W windows, K classes without background, ... any leading dimensions (the
batch), the same in all arguments of a call.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import tensorflow as tf

from object_detection_mtl.mtl.labels import union_areas
from object_detection_mtl.mtl.labels.padded_objects import (
    Array,
    are_objects,
    as_boxes,
    as_classes,
    as_floats,
    in_float64,
)

TRANSFORMS = ("SQRT", "AREA")


def window_labels(
    boxes: Array,
    classes: Array,
    windows: Array,
    num_classes: int,
    *,
    transform: str = "SQRT",
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Multi-object soft labels [..., W, K+1]: what share of a window shows which class.

    A class counts with the area of the union of its boxes inside the window, the background (index
    0) with the area outside of all boxes; of each the square root is taken (transform "SQRT", the
    authors') or not ("AREA"), and the sum is scaled to one.

    boxes [..., N, 4] and windows [..., W, 4] may have any common unit and may reach beyond the
    picture: only their geometry counts. A window without area, inverted or not finite is all
    background.
    """
    if transform not in TRANSFORMS:
        raise ValueError(f"transform is {transform!r}, expected one of {TRANSFORMS}.")
    boxes, windows = as_boxes(boxes, "boxes"), as_boxes(windows, "windows")
    classes = as_classes(classes, num_classes)
    objects = are_objects(
        boxes, num_boxes=num_boxes, valid=valid, classes=classes, num_classes=num_classes
    )
    groups = tf.where(objects, classes - 1, num_classes)
    frames = in_float64(windows, are_objects(windows))
    union, per_class = union_areas.areas(
        in_float64(boxes, objects), groups, frames, num_groups=num_classes
    )
    sizes = (frames[..., 2] - frames[..., 0]) * (frames[..., 3] - frames[..., 1])
    background = tf.where(sizes > 0.0, tf.maximum(sizes - union, 0.0), 1.0)
    areas = tf.concat([background[..., tf.newaxis], per_class], axis=-1)
    if transform == "SQRT":
        areas = tf.sqrt(areas)
    total = tf.cast(tf.reduce_sum(areas, axis=-1, keepdims=True), boxes.dtype)
    return tf.cast(areas, boxes.dtype) / total


def closeness_labels(
    boxes: Array,
    classes: Array,
    image_size: Array,
    num_classes: int,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Closeness labels [..., N, K+1]: how near the nearest object of every other class is.

    An object at a distance d of the centres, in pixels, is 1 - d / diagonal of the picture close,
    and not at all at the diagonal or beyond. The entries, 0 for the own class, are scaled to a sum
    of one; where there is nothing of another class, the background (index 0) is 1. Rows that are no
    objects are 0.

    boxes: normalised [..., N, 4]; those outside the picture count where they are.
    image_size: (height, width) in pixels, [2] or [..., 2].
    """
    boxes, classes = as_boxes(boxes, "boxes"), as_classes(classes, num_classes)
    objects = are_objects(
        boxes, num_boxes=num_boxes, valid=valid, classes=classes, num_classes=num_classes
    )
    pixels = tf.cast(image_size, tf.float64)[..., tf.newaxis, :]
    shapes = in_float64(boxes, objects)
    centres = (shapes[..., :2] + shapes[..., 2:]) * (pixels / 2.0)
    y, x = tf.unstack(centres, num=2, axis=-1)
    squares = tf.square(y[..., tf.newaxis] - y[..., tf.newaxis, :])
    squares += tf.square(x[..., tf.newaxis] - x[..., tf.newaxis, :])
    diagonal = tf.norm(pixels, axis=-1, keepdims=True)  # [..., 1, 1]
    closeness = tf.maximum(1.0 - tf.sqrt(squares) / diagonal, 0.0)
    entries = _largest_per_class(closeness, tf.where(objects, classes, 0), num_classes)
    index = tf.range(num_classes + 1)
    is_other = (index > 0) & (index != classes[..., tf.newaxis])
    entries = tf.where(is_other, entries, 0.0)
    total = tf.reduce_sum(entries, axis=-1, keepdims=True)
    alone = tf.one_hot(tf.zeros_like(classes), num_classes + 1, dtype=tf.float64)
    labels = tf.where(total > 0.0, tf.math.divide_no_nan(entries, total), alone)
    return tf.cast(tf.where(objects[..., tf.newaxis], labels, 0.0), boxes.dtype)


def _largest_per_class(values: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Maximum [..., N, K+1] over the objects of each class; 0 for a class without any.

    values: [..., N, N], not negative, the value of each row's object for each column's, and the
      same the other way round.
    """
    number, width = tf.shape(classes)[-1], num_classes + 1
    rows = tf.reshape(values, [tf.size(classes), number])
    batch = tf.size(classes) // tf.maximum(number, 1)
    offsets = tf.repeat(tf.range(batch) * width, number)
    segments = tf.reshape(classes, [-1]) + offsets
    largest = tf.math.unsorted_segment_max(rows, segments, batch * width)
    shape = tf.concat([tf.shape(classes)[:-1], [width, number]], axis=0)
    return tf.linalg.matrix_transpose(tf.maximum(tf.reshape(largest, shape), 0.0))


def to_text(labels: Array) -> list[str]:
    """The strings that the authors' records hold, one per row of labels [N, K+1].

    Three digits, halves away from zero (as Python 2 rounds), without ".0", separated by spaces.
    """
    values = np.asarray(as_floats(labels), np.float64)
    if values.ndim != 2:
        raise ValueError(f"labels have the shape {values.shape}, expected [number, classes + 1].")
    if not np.isfinite(values).all():
        raise ValueError(f"labels hold a number that is not finite: {values[~np.isfinite(values)]}")
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([_rounded(value) for value in distinct.tolist()], object)
    return [" ".join(row) for row in texts[places.reshape(values.shape)]]


def _rounded(value: float) -> str:
    """A number with at most three digits. Decimal sees the exact value, so a half is a half."""
    text = str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP)).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
