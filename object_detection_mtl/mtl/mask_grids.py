"""Foreground masks and logits on the grids of the label and of the feature map.

Shape letters: B batch, fh fw the feature map, S side of the label in cells.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.fields import Predictions

Tensors = dict[str, tf.Tensor]


def balanced_weights(mask: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return weights [B, S, S] of mean 1 whose foreground and background halves are equal.

    Within each side the weights keep their proportions. An image with one side alone gives all
    weight to that side.

    Args:
        mask: [B, S, S] of 0 and 1.
        weights: [B, S, S], positive.
    """
    cells = tf.cast(tf.size(mask[0]), weights.dtype)
    sides = [weights * mask, weights * (1.0 - mask)]
    totals = [tf.reduce_sum(side, axis=[1, 2], keepdims=True) for side in sides]
    present = [tf.cast(total > 0.0, weights.dtype) for total in totals]
    of_each = cells / tf.maximum(present[0] + present[1], 1.0)
    return tf.add_n(
        [
            tf.math.divide_no_nan(side, total) * of_each
            for side, total in zip(sides, totals, strict=True)
        ]
    )


def mask_of_map(
    mask: tf.Tensor, weights: tf.Tensor, by_row: tf.Tensor, by_column: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a label's mask and weights on the cells of a feature map, each [B, fh, fw].

    Every cell of the label shares its weight between the cells of the map that cover it; a cell of
    the map gets the sum of the weights and the weighted mean of the mask. So the loss counts every
    cell of the label as it does on the label's own grid.

    Args:
        mask: [B, S, S] of 0 and 1.
        weights: [B, S, S].
        by_row: [B, fh, S], the part of each row of the label in each row of the map.
        by_column: [B, fw, S], the same of columns.
    """

    def collect(values: tf.Tensor) -> tf.Tensor:
        return tf.einsum("bhs,bst,bwt->bhw", by_row, values, by_column)

    total = collect(weights)
    return tf.math.divide_no_nan(collect(weights * mask), total), total


def overlaps_of_cells(extent: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return the part of each cell of a label in each cell of a map along one axis: [B, cells, S].

    Args:
        extent: float32 [B], how many cells of the map the label covers.
        num_cells: number of cells of the map.
        size: S.
    """
    step = (extent / size)[:, tf.newaxis, tf.newaxis]
    starts = tf.range(size, dtype=tf.float32) * step  # [B, 1, S]
    cells = tf.range(tf.cast(num_cells, tf.float32))[:, tf.newaxis]
    shared = tf.minimum(cells + 1.0, starts + step) - tf.maximum(cells, starts)
    return tf.nn.relu(shared) / step


def mask_logits(predictions: Tensors, size: int) -> tf.Tensor:
    """Return the predicted map of the true image, resized to [B, size, size, 2].

    Bilinear as TensorFlow 1 resized: cell i of the result lies at i * fh / size of the map,
    without an offset of half a cell.

    Args:
        predictions: all of the detector's.
        size: S of the label.
    """
    logits = predictions[Predictions.edgemask]
    rows, columns = _true_cells(
        tf.shape(logits)[1:3],
        predictions[Predictions.image_shape][1:3],
        predictions[Predictions.true_image_shapes][:, :2],
    )
    return resize_map(
        logits,
        _resize_weights(rows, tf.shape(logits)[1], size),
        _resize_weights(columns, tf.shape(logits)[2], size),
    )


def resize_map(logits: tf.Tensor, by_row: tf.Tensor, by_column: tf.Tensor) -> tf.Tensor:
    """Return logits [B, fh, fw, 2] resized with weights [B, S, fh] and [B, S, fw]."""
    resized = tf.einsum("bsh,bhwc->bswc", by_row, logits)
    return tf.einsum("btw,bswc->bstc", by_column, resized)


def _true_cells(
    map_sides: tf.Tensor, input_sides: tf.Tensor, true_sides: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the rows [B] and columns [B] of the map that an image without padding would have.

    Args:
        map_sides: [2], of the map of the padded inputs.
        input_sides: [2], in pixels.
        true_sides: [B, 2], in pixels.
    """
    stride = -(-input_sides // map_sides)
    cells = tf.minimum(-(-true_sides // stride), map_sides)
    return cells[:, 0], cells[:, 1]


def map_extents(predictions: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height [B] and width [B] of the true image in cells of the map, fractions included."""
    map_sides = tf.shape(predictions[Predictions.edgemask])[1:3]
    stride = -(-predictions[Predictions.image_shape][1:3] // map_sides)
    true_sides = predictions[Predictions.true_image_shapes][:, :2]
    extents = tf.cast(true_sides, tf.float32) / tf.cast(stride, tf.float32)
    return extents[:, 0], extents[:, 1]


def _resize_weights(cells: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return the weight of each cell in a linear resize of the first cells: [B, size, num_cells].

    Args:
        cells: [B], how many cells the result covers.
        num_cells: number of cells of the map.
        size: S.
    """
    last = tf.cast(cells - 1, tf.float32)[:, tf.newaxis]
    step = tf.cast(cells, tf.float32)[:, tf.newaxis] / size
    positions = tf.minimum(tf.range(size, dtype=tf.float32) * step, last)
    return _linear_weights(positions, num_cells)


def centered_resize_weights(extent: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return as `_resize_weights`, with positions at the centers of cells.

    Args:
        extent: float32 [B], how many cells the result covers.
        num_cells: number of cells of the map.
        size: S.
    """
    step = extent[:, tf.newaxis] / size
    positions = (tf.range(size, dtype=tf.float32) + 0.5) * step - 0.5
    last = tf.math.ceil(extent)[:, tf.newaxis] - 1.0
    return _linear_weights(tf.clip_by_value(positions, 0.0, last), num_cells)


def _linear_weights(positions: tf.Tensor, num_cells: tf.Tensor) -> tf.Tensor:
    """Return [B, S, num_cells], the weights of a linear interpolation at positions [B, S]."""
    distance = positions[..., tf.newaxis] - tf.range(tf.cast(num_cells, tf.float32))
    return tf.nn.relu(1.0 - tf.abs(distance))
