"""Foreground masks with their weights, and the first box that covers a cell.

Shape letters: N boxes, S side of the mask, R S rows and columns of a raster, G groups of boxes,
... any leading dimensions (the batch).
"""

from __future__ import annotations

import math

import tensorflow as tf

from object_detection_mtl.mtl.labels.padded_objects import Array, are_objects, as_boxes, in_float64
from object_detection_mtl.ops.tensor_shapes import size, smallest

_BOXES_OF_A_SUM = 1022  # The exponent field of a float64 is in 1..2046; here 2, 4, ... 2044.
_MANTISSA_BITS = 52


def foreground_mask(
    boxes: Array,
    mask_size: int = 64,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Return the foreground mask and the weights of its cells, [..., 2, S, S].

    A box covers the cells floor(ymin * S) to min(S - 1, floor(ymax * S + 0.99)), inclusive, and the
    same in x. A box without area covers a cell or two, a box that does not touch the image none.
    The mask is 1 on covered cells. The weight of a cell is the largest 1 / (number of its cells)
    among the boxes that cover it, at least 1 / S^2, divided by the mean over all cells.

    Args:
        boxes: normalized [..., N, 4].
        mask_size: S.
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], see padded_objects.py.

    Raises:
        ValueError: mask_size is less than 1.
    """
    if mask_size < 1:
        raise ValueError(f"mask_size is {mask_size}, expected at least 1.")
    boxes = as_boxes(boxes, "boxes")
    objects = are_objects(boxes, num_boxes=num_boxes, valid=valid)
    shapes = in_float64(boxes, objects)
    touches = tf.reduce_all(shapes[..., :2] <= 1.0, -1) & tf.reduce_all(shapes[..., 2:] >= 0.0, -1)
    edges = tf.clip_by_value(shapes, 0.0, 1.0) * mask_size
    first = tf.minimum(tf.floor(edges[..., :2]), mask_size - 1.0)
    last = tf.minimum(tf.floor(edges[..., 2:] + 0.99), mask_size - 1.0)
    cells = tf.reduce_prod(last - first + 1.0, axis=-1)
    counts = objects & touches

    # Of the boxes that cover a cell the one with the fewest cells decides. Rows that the same boxes
    # cover are computed once.
    fewest, order = tf.math.top_k(tf.where(counts, -cells, -math.inf), k=tf.shape(cells)[-1])
    leading = order.shape.rank - 1
    sides = tf.gather(tf.concat([first, last], -1), order, batch_dims=leading)
    cell = tf.range(mask_size, dtype=sides.dtype)
    columns = (sides[..., 1, tf.newaxis] <= cell) & (cell <= sides[..., 3, tf.newaxis])
    strips, row = _strips(sides[..., 0], sides[..., 2], mask_size)
    row = tf.cast(row, sides.dtype)[..., tf.newaxis, :]
    rows = (sides[..., 0, tf.newaxis] <= row) & (row <= sides[..., 2, tf.newaxis])
    place = first_cover(rows, columns, fewest > -math.inf)  # [..., R, S]

    nothing = tf.fill(tf.concat([tf.shape(cells)[:-1], [1]], 0), float(mask_size**-2))
    weights = tf.concat([-1.0 / fewest, tf.cast(nothing, tf.float64)], axis=-1)
    weight = tf.gather(weights, place, batch_dims=leading)
    means = tf.gather(tf.reduce_mean(weight, axis=-1), strips, batch_dims=leading)
    mean = tf.reduce_mean(means, axis=-1)[..., tf.newaxis, tf.newaxis]
    mask = tf.cast(place < tf.shape(cells)[-1], boxes.dtype)
    weight = tf.cast(weight, boxes.dtype) / tf.cast(mean, boxes.dtype)
    both = tf.stack([mask, weight], axis=-3)  # [..., 2, R, S]
    return tf.gather(both, strips, axis=leading + 1, batch_dims=leading)


def _strips(first: tf.Tensor, last: tf.Tensor, mask_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the strips of rows that the same boxes cover.

    Args:
        first: [..., N], first row of each box.
        last: [..., N], last row of each box.
        mask_size: S.

    Returns:
        int32 [..., S], the strip of every row, and [..., R], the first row of every strip.
    """
    row = tf.range(mask_size, dtype=first.dtype)
    begins = tf.equal(first[..., tf.newaxis], row) | tf.equal(last[..., tf.newaxis] + 1.0, row)
    begins = tf.cast(tf.reduce_any(begins, axis=-2), tf.int32)
    strips = tf.cumsum(begins, axis=-1) - begins[..., :1]
    number = smallest(2 * size(first, -1) + 1, mask_size)
    wanted = tf.zeros_like(begins)[..., :number] + tf.range(number)
    return strips, tf.minimum(tf.searchsorted(strips, wanted), mask_size - 1)


def first_cover(in_y: tf.Tensor, in_x: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Return int32 [..., R, S], the first box, 0..N-1, that covers a cell; N if none does.

    Drawing N boxes and searching the first on each cell takes 2 * N * R * S steps. One matrix
    product adds up the boxes of a cell instead. Each box has its own power of two, every second
    power only, so the exponent of the sum is that of the largest term, whatever was rounded below
    it: the other terms together are less than half of it. A float64 has exponents for 1022 boxes;
    beyond that, there are several sums.

    Args:
        in_y: bool [..., N, R], the rows of every box.
        in_x: bool [..., N, S], the columns of every box.
        counts: bool [..., N], false for padding.
    """
    number = size(counts, -1)
    if isinstance(number, int) and number == 0:
        return tf.zeros(
            tf.concat([tf.shape(in_y)[:-2], [size(in_y, -1), size(in_x, -1)]], 0), tf.int32
        )
    groups = tf.range((number + _BOXES_OF_A_SUM - 1) // _BOXES_OF_A_SUM)
    group, place = tf.range(number) // _BOXES_OF_A_SUM, tf.range(number) % _BOXES_OF_A_SUM
    exponents = tf.cast((_BOXES_OF_A_SUM - place) * 2, tf.int64)
    powers = tf.bitcast(tf.bitwise.left_shift(exponents, _MANTISSA_BITS), tf.float64)
    powers = tf.where(tf.equal(groups[:, tf.newaxis], group), powers, 0.0)
    powers *= tf.cast(counts, tf.float64)[..., tf.newaxis, :]  # [..., G, N]
    rows = tf.cast(in_y, tf.float64)[..., tf.newaxis, :, :] * powers[..., tf.newaxis]
    columns = tf.cast(in_x, tf.float64)[..., tf.newaxis, :, :]
    sums = tf.matmul(rows, columns, transpose_a=True)  # [..., G, R, S]
    largest = tf.bitwise.right_shift(tf.bitcast(sums, tf.int64), _MANTISSA_BITS + 1)
    first = _BOXES_OF_A_SUM - tf.cast(largest, tf.int32)  # Of an empty sum, 1022.
    offsets = tf.where(first < _BOXES_OF_A_SUM, groups[:, tf.newaxis, tf.newaxis], number)
    first += offsets * _BOXES_OF_A_SUM
    return tf.minimum(tf.reduce_min(first, axis=-3), number)
