"""Position-sensitive RoI pooling (Dai et al. 2016, arXiv:1605.06409, section 3).

A box is divided into I x J bins, and each bin reads its own channels: a map has I * J groups of C
channels, bin (i, j) reads group i * J + j. Within a bin the map is sampled bilinearly; pooling is
the mean over all samples of all bins.

Shape letters: B batch, P boxes per image, h w the map, I J bins, s t samples of a bin, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.ops import lowering, roi

_HALF = 32  # bits of an int64


@dataclass(frozen=True)
class BinWeights:
    """Weight of each cell of a map in each bin of each box.

    A weight is the product of a row's and a column's: the mean of the bilinear samples, which sum
    to 1 for a box on the map. Pooling and its gradient are matrix products with the weights, exact
    and deterministic. All maps that are pooled for the same boxes use the same weights.

    Attributes:
        rows: [B, P, I, h].
        columns: [B, P, J, w].
        matrix: weights of all boxes, bins and cells, see `_matrix`.
    """

    rows: tf.Tensor
    columns: tf.Tensor
    matrix: tf.Tensor

    @classmethod
    def of_axes(cls, rows: tf.Tensor, columns: tf.Tensor) -> BinWeights:
        """Return the weights of rows [B, P, I, h] and columns [B, P, J, w]."""
        return cls(rows, columns, _matrix(rows, columns))

    @property
    def num_bins(self) -> int:
        """Number of bins of a box, I * J."""
        return self.rows.shape[2] * self.columns.shape[2]

    def gather(self, boxes: tf.Tensor) -> BinWeights:
        """Return the weights of some boxes, numbers [B, Q] int32 below P."""
        rows, columns = (tf.gather(part, boxes, batch_dims=1) for part in (self.rows, self.columns))
        return BinWeights.of_axes(rows, columns)


def bin_weights(
    boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int], map_shape: tf.Tensor
) -> BinWeights:
    """Return the weights of boxes for `pool`.

    Args:
        boxes: [B, P, 4] in [0, 1] of the map, as `roi.crop_and_resize` counts.
        crop_size: samples per box, s * I and t * J.
        num_bins: I and J.
        map_shape: shape of the maps, [4] or longer; only h and w are read.
    """
    return BinWeights.of_axes(
        *(
            tf.reduce_mean(weights, axis=3)
            for weights in _sample_weights(boxes, crop_size, num_bins, map_shape)
        )
    )


def pool(maps: tf.Tensor, weights: BinWeights) -> tf.Tensor:
    """Return means over all bins [B, P, C] of maps [B, h, w, I * J * C]."""
    bins, channels = weights.num_bins, maps.shape[-1]
    if channels % bins:
        raise ValueError(f"{channels} channels of a map cannot be divided among {bins} bins")
    batch, number = tf.unstack(tf.shape(weights.rows)[:2])
    if weights.matrix.dtype == tf.variant:
        groups = tf.reshape(maps, [-1, channels // bins])
        pooled = _sparse_product(weights.matrix, groups)[: batch * number]
        return tf.reshape(pooled, [batch, number, channels // bins])
    return tf.matmul(weights.matrix, tf.reshape(maps, [batch, -1, channels // bins]))


def crop(
    maps: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int]
) -> tf.Tensor:
    """Return the samples that `pool` averages, [B, P, s * I, t * J, C]."""
    shape = tf.shape(maps)
    channels = maps.shape[-1] // (num_bins[0] * num_bins[1])
    rows, columns = _sample_weights(tf.stop_gradient(boxes), crop_size, num_bins, shape)
    groups = tf.reshape(maps, [*tf.unstack(shape[:3]), *num_bins, channels])
    samples = tf.einsum("bpisy,bpjtx,byxijc->bpisjtc", rows, columns, groups)
    return tf.reshape(samples, [*tf.unstack(tf.shape(boxes)[:2]), *crop_size, channels])


def _sample_weights(
    boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int], map_shape: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the weight of each row [B, P, I, s, h] and column [B, P, J, t, w] in each sample."""
    check_bins(crop_size, num_bins)
    weights = []
    for axis in range(2):
        bins, samples = num_bins[axis], crop_size[axis] // num_bins[axis]
        start, end = boxes[..., axis, tf.newaxis], boxes[..., axis + 2, tf.newaxis]
        # Not a division: TensorFlow 1 replaced it so, and rounding decides about border samples.
        step = (end - start) * (1.0 / bins)
        edges = start + tf.range(bins + 1, dtype=tf.float32) * step
        size = map_shape[1 + axis]
        cells, fractions = roi.linear_samples(edges[..., :-1], edges[..., 1:], samples, size)
        spread = tf.one_hot(cells, size) * fractions[..., tf.newaxis]
        weights.append(tf.reduce_sum(spread, axis=-2))
    return weights[0], weights[1]


def check_bins(crop_size: tuple[int, int], num_bins: tuple[int, int]) -> None:
    """Raise ValueError unless each bin gets the same number of samples, at least one."""
    for axis, side in enumerate(("height", "width")):
        crop_side, bins = crop_size[axis], num_bins[axis]
        if bins < 1 or crop_side < 1 or crop_side % bins:
            raise ValueError(
                f"crop_{side} is {crop_side} and num_spatial_bins_{side} is {bins}; "
                "expected a multiple, of at least one bin"
            )


def _matrix(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return the weights as a matrix, boxes by cells and bins (rows of maps [h, w, I * J, C]).

    A box of an image covers a few percent of the bins' cells. TensorFlow has a product with a
    sparse matrix that starts at once on every core: a variant tensor,
    [B * P + 1, B * h * w * I * J].
    Elsewhere (`lowering`) it is a dense one, [B, P, h * w * I * J], mostly zeros.
    """
    rows, columns = tf.stop_gradient(rows), tf.stop_gradient(columns)
    if lowering.is_for_tensorflow():
        return _sparse_matrix(rows, columns)
    bins = rows.shape[2], columns.shape[2]
    batch, number, _, height = tf.unstack(tf.shape(rows))
    width = tf.shape(columns)[3]
    # Each bin's rows and columns, [B, P, h or w, I * J]: TensorFlow does not multiply six axes.
    rows = tf.repeat(tf.linalg.matrix_transpose(rows), bins[1], axis=3) / (bins[0] * bins[1])
    columns = tf.tile(tf.linalg.matrix_transpose(columns), [1, 1, 1, bins[0]])
    weights = tf.expand_dims(rows, 3) * tf.expand_dims(columns, 2)
    return tf.reshape(weights, [batch, number, height * width * bins[0] * bins[1]])


def _sparse_matrix(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return the products of the nonzero row and column weights of each box."""
    batch, number, row_bins, height = tf.unstack(tf.shape(rows, out_type=tf.int64))
    column_bins, width = tf.unstack(tf.shape(columns, out_type=tf.int64)[2:])
    bins, boxes = row_bins * column_bins, batch * number
    rows, row_places = _nonzero(tf.reshape(rows, [boxes, row_bins, height]))
    columns = tf.reshape(columns, [boxes, column_bins, width])
    columns_of_box = tf.math.count_nonzero(columns, axis=[1, 2])
    columns, column_places = _nonzero(columns)

    box, row_bin, row = tf.unstack(row_places, axis=1)
    _, column_bin, column = tf.unstack(column_places, axis=1)
    # Summands of an entry's place (box, row of the map and bin): of its row and of its column.
    row += tf.math.floordiv(box, tf.maximum(number, 1)) * height
    of_row = tf.stack([box, row * (width * bins) + row_bin * column_bins], axis=1)
    of_column = tf.stack([tf.zeros_like(column), column * bins + column_bin], axis=1)

    # Pairs of a row and a column, each as one number with the row in the upper half.
    last = tf.cumsum(columns_of_box)
    pairs_of_row = tf.bitwise.left_shift(tf.range(tf.size(box, tf.int64)), _HALF)
    pairs = tf.raw_ops.RaggedRange(
        starts=pairs_of_row + tf.gather(last - columns_of_box, box),
        limits=pairs_of_row + tf.gather(last, box),
        deltas=tf.constant(1, tf.int64),
    ).rt_dense_values
    first = tf.bitwise.right_shift(pairs, _HALF)
    second = tf.bitwise.bitwise_and(pairs, 2**_HALF - 1)
    scale = 1.0 / tf.cast(bins, rows.dtype)
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=tf.gather(of_row, first) + tf.gather(of_column, second),
        values=tf.gather(rows * scale, first) * tf.gather(columns, second),
        # And an empty row: of a matrix without rows TensorFlow's product may end the process.
        dense_shape=tf.stack([boxes + 1, batch * height * width * bins]),
    )


def _nonzero(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the nonzero values [N] and their places [N, rank]."""
    places = tf.where(values > 0.0)
    return tf.gather_nd(values, places), places


def _sparse_product(matrix: tf.Tensor, dense: tf.Tensor) -> tf.Tensor:
    """Return the matrix, a variant, times `dense`; only `dense` has a gradient."""

    @tf.custom_gradient
    def product(dense: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # The operation's own gradient multiplies with transpose_a, at half the speed.
            transposed = tf.raw_ops.SparseMatrixTranspose(input=matrix, type=upstream.dtype)
            return tf.raw_ops.SparseMatrixMatMul(a=transposed, b=upstream)

        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=dense), gradient

    return product(dense)
