"""Exact areas of unions of boxes inside windows, for any number of boxes.

Shape letters: N boxes, W windows, ... any leading dimensions (the batch).

Coordinates are compressed: the 2N y's of the boxes, sorted, cut the plane into strips, the x's cut
it likewise, and every cell between them is either covered or not. With overlap_y[w, i] and
overlap_x[w, j] the lengths of a window on the strips, the area of the union inside the window is
    sum over i, j of overlap_y[w, i] * covered[i, j] * overlap_x[w, j].
Boxes of different groups (classes) must not hide each other. Sorted by (group, coordinate), each
group has its own strips, made from its own boxes only, and `covered` is a block-diagonal matrix
[2N, 2N] with one block per group: one matrix product serves all groups, however the boxes are
distributed over them, in time and memory quadratic in N.
"""

from __future__ import annotations

import tensorflow as tf


def areas(boxes: tf.Tensor, groups: tf.Tensor, windows: tf.Tensor, *, num_groups: int) -> tf.Tensor:
    """Area of the union of every group's boxes inside every window, float64 [..., W, num_groups].

    boxes: float64 [..., N, 4], finite, not inverted, in any unit; boxes without area add nothing.
    groups: int32 [..., N], 0..num_groups-1. windows: float64 [..., W, 4], finite, not inverted.
    All terms of the sums are positive: the relative error is that of adding 2N numbers.
    """
    coordinates, members = _by_axis(boxes), tf.concat([groups, groups], axis=-1)
    members = tf.stack([members, members], axis=-2)  # [..., 2, 2N]
    order = _order_by(members, coordinates)
    strips = _take(coordinates, order)
    overlaps = _overlaps(strips, _by_axis(windows))
    covered = tf.cast(_covered(order), tf.float64)
    per_strip = tf.matmul(overlaps[..., 0, :, :], covered) * overlaps[..., 1, :, :]
    belongs = tf.one_hot(_take(members, order)[..., 1, :], num_groups, dtype=tf.float64)
    return tf.matmul(per_strip, belongs)


def _by_axis(boxes: tf.Tensor) -> tf.Tensor:
    """[..., N, 4] -> [..., 2, 2N]: first all y's, then all x's; N starts, then N ends."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    return tf.stack([tf.concat([ymin, ymax], -1), tf.concat([xmin, xmax], -1)], axis=-2)


def _take(values: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, order, batch_dims=order.shape.rank - 1)


def _order_by(members: tf.Tensor, coordinates: tf.Tensor) -> tf.Tensor:
    """int32 [..., 2, 2N]: which coordinate comes at each place, sorted by group, then by value."""
    by_value = tf.argsort(coordinates, stable=True)
    by_group = tf.argsort(_take(members, by_value), stable=True)
    return _take(by_value, by_group)


def _overlaps(strips: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Length of every window on every strip, [..., 2, W, 2N].

    strips: [..., 2, 2N], strip i reaches from coordinate i to i + 1. The one between two groups has
    no meaning; nothing covers it. sides: [..., 2, 2W].
    """
    low, high = tf.split(sides[..., tf.newaxis], 2, axis=-2)  # each [..., 2, W, 1]
    inside = tf.minimum(tf.maximum(strips[..., tf.newaxis, :], low), high)
    following = tf.concat([inside[..., 1:], inside[..., -1:]], axis=-1)
    return following - inside


def _covered(order: tf.Tensor) -> tf.Tensor:
    """bool [..., 2N, 2N]: whether a box covers the strips i (in y) and j (in x).

    Row i starts or ends one box: from there on the x strips of that box are covered once more or
    once less. A group's rows end all boxes that they started, so groups leave each other alone.
    """
    edges = tf.shape(order)[-1]
    places = tf.argsort(order)[..., 1, :]  # where each x stands, the inverse of the order
    start_or_end = order[..., 0, :]
    is_start = start_or_end < edges // 2
    box = tf.where(is_start, start_or_end, start_or_end - edges // 2)
    starts = _take(places, box)[..., tf.newaxis]
    ends = _take(places, box + edges // 2)[..., tf.newaxis]
    strip = tf.range(edges)
    change = tf.where(is_start, 1.0, -1.0)[..., tf.newaxis]
    changes = change * tf.cast((starts <= strip) & (strip < ends), tf.float32)
    return tf.cumsum(changes, axis=-2) > 0.5
