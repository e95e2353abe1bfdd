"""Which of many sorted boxes is the first that covers a cell of a raster.

Shape letters: N boxes, R S rows and columns of the raster, G groups of boxes, ... any leading
dimensions (the batch).

Painting all boxes, N rasters, and looking for the first on each cell costs N * R * S steps twice. A
matrix product adds up the boxes of a cell in one go; if every box has a power of two of its own,
every second power only, then the exponent of the sum is that of the largest term, whatever was
rounded away below it: the other terms together are less than half of it. A float64 has exponents
for 1022 boxes; beyond that, there are several sums.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.ops.shapes import size

_BOXES_OF_A_SUM = 1022  # The exponent field of a float64 is in 1..2046; here 2, 4, ... 2044.
_MANTISSA_BITS = 52


def first_cover(in_y: tf.Tensor, in_x: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """int32 [..., R, S]: the number, 0..N-1, of the first box that covers a cell, N if none does.

    in_y, in_x: bool [..., N, R] and [..., N, S], the rows and the columns of every box.
    counts: bool [..., N], false for what is no box.
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
    first = _BOXES_OF_A_SUM - tf.cast(largest, tf.int32)  # Of a sum of nothing, 1022.
    offsets = tf.where(first < _BOXES_OF_A_SUM, groups[:, tf.newaxis, tf.newaxis], number)
    first += offsets * _BOXES_OF_A_SUM
    return tf.minimum(tf.reduce_min(first, axis=-3), number)
