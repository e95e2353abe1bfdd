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
    """Return multi-object soft labels [..., W, K+1]: the fraction of each class in a window.

    The value of a class is the area of the union of its boxes inside the window, that of background
    (index 0) the area outside of all boxes. Each value is replaced by its square root (transform
    "SQRT", the authors') or not ("AREA"); then they are divided by their sum.

    Args:
        boxes: [..., N, 4], in any unit; they may reach beyond the image.
        classes: integers [..., N], 1..K, 0 for padding.
        windows: [..., W, 4], in the unit of the boxes. A window without area, inverted or not
            finite is all background.
        num_classes: K.
        transform: "SQRT" or "AREA".
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], see padded_objects.py.

    Raises:
        ValueError: an unknown transform, shapes that do not fit, or (eagerly) an unknown class.
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
    """Return closeness labels [..., N, K+1]: how near the nearest object of each other class is.

    The closeness of two objects is 1 - d / diagonal of the image, with d the distance of their
    centers in pixels, and 0 at the diagonal or beyond. The entries, 0 for the object's own class,
    are divided by their sum; if there is no object of another class, background (index 0) is 1.
    Rows of padding are 0.

    Args:
        boxes: normalized [..., N, 4]; those outside the image count where they are.
        classes: integers [..., N], 1..K, 0 for padding.
        image_size: (height, width) in pixels, [2] or [..., 2].
        num_classes: K.
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], see padded_objects.py.

    Raises:
        ValueError: shapes that do not fit, or (eagerly) an unknown class.
    """
    boxes, classes = as_boxes(boxes, "boxes"), as_classes(classes, num_classes)
    objects = are_objects(
        boxes, num_boxes=num_boxes, valid=valid, classes=classes, num_classes=num_classes
    )
    pixels = tf.cast(image_size, tf.float64)[..., tf.newaxis, :]
    shapes = in_float64(boxes, objects)
    centers = (shapes[..., :2] + shapes[..., 2:]) * (pixels / 2.0)
    y, x = tf.unstack(centers, num=2, axis=-1)
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
    """Return the maximum [..., N, K+1] over the objects of each class; 0 for a class without any.

    Args:
        values: [..., N, N], not negative and symmetric, of pairs of objects.
        classes: int32 [..., N].
        num_classes: K.
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
    """Return labels [N, K+1] as the texts of the authors' records, one per row.

    Numbers have three digits, halves are rounded away from zero (as in Python 2), without ".0", and
    are separated by spaces.

    Raises:
        ValueError: another shape, or a number that is not finite.
    """
    values = np.asarray(as_floats(labels), np.float64)
    if values.ndim != 2:
        raise ValueError(f"labels have the shape {values.shape}, expected [number, classes + 1].")
    if not np.isfinite(values).all():
        raise ValueError(f"labels contain {values[~np.isfinite(values)]}, expected finite numbers.")
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([_rounded(value) for value in distinct.tolist()], object)
    return [" ".join(row) for row in texts[places.reshape(values.shape)]]


def _rounded(value: float) -> str:
    """Return a number as text with at most three digits; Decimal has its exact value."""
    text = str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP)).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
