"""Geometry of boxes: areas, overlaps, windows, frames.

A box is [ymin, xmin, ymax, xmax]; every function works in the common unit of its boxes (pixels, or
fractions of the image), except `flip_left_right`, which needs fractions.

Shape letters: N and M numbers of boxes, ... any leading dimensions (usually the batch),
the same in all arguments of a call or broadcastable.
"""

from __future__ import annotations

import tensorflow as tf


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Return areas [..., N] of boxes [..., N, 4]; a side of an inverted box is negative."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    return (ymax - ymin) * (xmax - xmin)


def intersection(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Return the overlap of each pair, [..., N, M]."""
    ymin1, xmin1, ymax1, xmax1 = tf.split(boxes1, 4, axis=-1)  # each [..., N, 1]
    ymin2, xmin2, ymax2, xmax2 = tf.unstack(
        boxes2[..., tf.newaxis, :, :], num=4, axis=-1
    )  # [..., 1, M]
    height = tf.nn.relu(tf.minimum(ymax1, ymax2) - tf.maximum(ymin1, ymin2))
    width = tf.nn.relu(tf.minimum(xmax1, xmax2) - tf.maximum(xmin1, xmin2))
    return height * width


def iou(boxes1: tf.Tensor, boxes2: tf.Tensor) -> tf.Tensor:
    """Return the intersection over union of each pair, [..., N, M]; 0 where the union is empty."""
    shared = intersection(boxes1, boxes2)
    union = area(boxes1)[..., tf.newaxis] + area(boxes2)[..., tf.newaxis, :] - shared
    return tf.math.divide_no_nan(shared, union)


def clip_to_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Clip boxes [..., N, 4] to their window [..., 4].

    The number of boxes stays: one that lies outside collapses onto the window's border and has
    area 0, which is how callers recognize it.
    """
    low, high = _window_corners(window)
    return tf.maximum(tf.minimum(boxes, _twice(high)), _twice(low))


def is_inside_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Return bool [..., N]: the box lies in its window [..., 4], or touches it from inside."""
    low, high = _window_corners(window)
    starts_inside = tf.reduce_all(boxes[..., :2] >= low, axis=-1)
    ends_inside = tf.reduce_all(boxes[..., 2:] <= high, axis=-1)
    return starts_inside & ends_inside


def change_coordinate_frame(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Return boxes [..., N, 4] as fractions of their window [..., 4].

    A window without height or width has no frame: there the coordinates become 0, not infinite.
    """
    low, high = _window_corners(window)
    return tf.math.divide_no_nan(boxes - _twice(low), _twice(high - low))


def scale(boxes: tf.Tensor, y_scale: tf.Tensor | float, x_scale: tf.Tensor | float) -> tf.Tensor:
    """Return boxes [..., N, 4] with y multiplied by y_scale and x by x_scale.

    A scale is one number, or a tensor [...] with one number for all boxes of an image.
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    y_scale = tf.cast(y_scale, boxes.dtype)[..., tf.newaxis]
    x_scale = tf.cast(x_scale, boxes.dtype)[..., tf.newaxis]
    return tf.stack([ymin * y_scale, xmin * x_scale, ymax * y_scale, xmax * x_scale], axis=-1)


def flip_left_right(boxes: tf.Tensor) -> tf.Tensor:
    """Return normalized boxes [..., 4], flipped left to right with the image."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    return tf.stack([ymin, 1.0 - xmax, ymax, 1.0 - xmin], axis=-1)


def _window_corners(window: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return (ymin, xmin) and (ymax, xmax) of a window [..., 4], each [..., 1, 2]."""
    corners = tf.expand_dims(window, -2)
    return corners[..., :2], corners[..., 2:]


def _twice(corner: tf.Tensor) -> tf.Tensor:
    """Return [y, x, y, x] from [y, x], along the last axis."""
    return tf.concat([corner, corner], axis=-1)
