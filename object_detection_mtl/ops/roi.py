"""Crops of regions of interest.

Shape letters: B batch, P boxes per image, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.ops import lowering


def crop_and_resize(features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    """Return bilinear crops [B * P, ch, cw, C] of features [B, h, w, C], image by image.

    boxes [B, P, 4] are in [0, 1] of the feature map as `tf.image.crop_and_resize` counts: 0 is the
    center of the first cell, 1 that of the last. Samples outside the map are 0. The boxes get no
    gradient.

    The crops are TensorFlow's, the gradient is not: on a CPU its kernel lets several threads add to
    one cell of the map without a lock, and where crops overlap loses whole addends at random.
    Under `lowering.for_xla`, which has neither kernel, the crops are gathered cell by cell.
    """
    for_xla = lowering.is_for_xla()

    @tf.custom_gradient
    def crop(
        features: tf.Tensor, boxes: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, None]]]:
        crops = (_gathered_crops if for_xla else _kernel_crops)(features, boxes, crop_size)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            add = _scatter_add if for_xla else _sparse_product
            cells, weights = _bilinear_samples(boxes, crop_size, tf.shape(features))
            upstream = tf.reshape(upstream, [-1, features.shape[-1]])
            num_cells = tf.reduce_prod(tf.shape(features)[:3])
            summed = add(tf.reshape(cells, [-1]), tf.reshape(weights, [-1]), upstream, num_cells)
            return tf.reshape(summed, tf.shape(features)), None

        return crops, gradient

    num_boxes = _num_boxes(boxes)
    static = num_boxes if isinstance(num_boxes, int) else None
    crops = crop(features, tf.stop_gradient(boxes))
    return tf.ensure_shape(crops, [static, *crop_size, features.shape[-1]])


def _kernel_crops(features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    batch, boxes_per_image = tf.unstack(tf.shape(boxes)[:2])
    image_of_box = tf.repeat(tf.range(batch), boxes_per_image)
    return tf.image.crop_and_resize(
        features, tf.reshape(boxes, [-1, 4]), image_of_box, list(crop_size)
    )


def _gathered_crops(features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    """Return the same from the four cells around each sample; XLA fuses the operations."""
    cells, weights = _bilinear_samples(boxes, crop_size, tf.shape(features))
    channels = features.shape[-1]
    rows = tf.reshape(features, [-1, channels])
    crops = tf.zeros([])
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = weights[..., corner[0], corner[1], tf.newaxis]
        crops += tf.gather(rows, cells[..., corner[0], corner[1]]) * weight
    return tf.reshape(crops, [-1, *crop_size, channels])


def _sparse_product(
    cells: tf.Tensor, weights: tf.Tensor, upstream: tf.Tensor, num_cells: tf.Tensor
) -> tf.Tensor:
    """Add `upstream` [N, C], weighted, to the four cells [4 N] of each sample: [num_cells, C].

    The crops are a sparse matrix, four entries a row, times the map; this is the transpose of that
    matrix times `upstream`.
    """
    num_samples = tf.shape(upstream, out_type=tf.int64)[0]
    entries = tf.stack([tf.repeat(tf.range(num_samples), 4), tf.cast(cells, tf.int64)], axis=1)
    crops = tf.SparseTensor(entries, weights, [num_samples, tf.cast(num_cells, tf.int64)])
    return tf.sparse.sparse_dense_matmul(crops, upstream, adjoint_a=True)


def _scatter_add(
    cells: tf.Tensor, weights: tf.Tensor, upstream: tf.Tensor, num_cells: tf.Tensor
) -> tf.Tensor:
    """Return `_sparse_product` by an operation that XLA compiles."""
    addends = upstream[:, tf.newaxis] * tf.reshape(weights, [-1, 4])[..., tf.newaxis]
    addends = tf.reshape(addends, [-1, upstream.shape[-1]])
    return tf.math.unsorted_segment_sum(addends, cells, num_cells)


def _bilinear_samples(
    boxes: tf.Tensor, crop_size: tuple[int, int], features_shape: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the four cells of each sample and their weights, both [B, P, ch, cw, 2, 2].

    Cells count through the whole batch: (image * h + row) * w + column.
    """
    batch, height, width = tf.unstack(features_shape[:3])
    rows, row_weights = linear_samples(boxes[..., 0], boxes[..., 2], crop_size[0], height)
    columns, column_weights = linear_samples(boxes[..., 1], boxes[..., 3], crop_size[1], width)
    image = tf.reshape(tf.range(batch), [-1, 1, 1, 1, 1, 1])
    cells = (image * height + rows[:, :, :, tf.newaxis, :, tf.newaxis]) * width
    cells += columns[:, :, tf.newaxis, :, tf.newaxis, :]
    weights = row_weights[:, :, :, tf.newaxis, :, tf.newaxis]
    return cells, weights * column_weights[:, :, tf.newaxis, :, tf.newaxis, :]


def linear_samples(
    start: tf.Tensor, end: tf.Tensor, num_samples: int, num_cells: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the two cells [..., num_samples, 2] of each sample on one axis, and their weights.

    start and end [...] are edges of boxes. The arithmetic is, rounding included, that of
    `tf.image.crop_and_resize`; a sample outside the map has weights 0.
    """
    last = tf.cast(num_cells - 1, tf.float32)
    start, end = start[..., tf.newaxis], end[..., tf.newaxis]
    if num_samples > 1:
        step = (end - start) * last / (num_samples - 1)
        samples = start * last + tf.range(num_samples, dtype=tf.float32) * step
    else:
        samples = 0.5 * (start + end) * last
    inside = (samples >= 0) & (samples <= last)
    samples = tf.where(inside, samples, 0.0)
    low = tf.floor(samples)
    fraction = samples - low
    cells = tf.cast(tf.stack([low, tf.minimum(low + 1.0, last)], axis=-1), tf.int32)
    return cells, tf.stack([1.0 - fraction, fraction], axis=-1) * tf.cast(inside, tf.float32)[
        ..., tf.newaxis
    ]


def crop_and_max_pool(
    features: tf.Tensor,
    boxes: tf.Tensor,
    crop_size: tuple[int, int],
    pool_size: int,
    pool_stride: int,
) -> tf.Tensor:
    """Crop, then apply max pooling without padding: the OD API's RoI pooling.

    With pool_size and pool_stride 1 the crops come back as they are.
    """
    crops = crop_and_resize(features, boxes, crop_size)
    if pool_size == 1 and pool_stride == 1:
        return crops
    return tf.nn.max_pool2d(crops, pool_size, pool_stride, "VALID")


def _num_boxes(boxes: tf.Tensor) -> tf.Tensor | int:
    """Return B * P, as an integer where it is known."""
    batch, number = boxes.shape[0], boxes.shape[1]
    if batch is None or number is None:
        return tf.reduce_prod(tf.shape(boxes)[:2])
    return batch * number
