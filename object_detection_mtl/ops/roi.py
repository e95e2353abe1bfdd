"""Cutting regions of interest out of a feature map.

Shape letters: B batch, P boxes per image, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def crop_and_resize(features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    """Bilinear crops [B * P, ch, cw, C] of features [B, h, w, C], image by image in order.

    boxes [B, P, 4] are in [0, 1] of the feature map as `tf.image.crop_and_resize` counts: 0 is the
    centre of the first cell, 1 that of the last. Samples outside the map are 0. The boxes get no
    gradient.

    The crops are TensorFlow's, the gradient is not: on a CPU its kernel lets several threads add to
    one cell of the map without a lock, and where crops overlap loses whole addends at random.
    """

    @tf.custom_gradient
    def crop(
        features: tf.Tensor, boxes: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, None]]]:
        batch, boxes_per_image = tf.unstack(tf.shape(boxes)[:2])
        crops = tf.image.crop_and_resize(
            features,
            tf.reshape(boxes, [-1, 4]),
            tf.repeat(tf.range(batch), boxes_per_image),
            list(crop_size),
        )

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            return _features_gradient(upstream, boxes, tf.shape(features)), None

        return crops, gradient

    num_boxes = _num_boxes(boxes)
    static = num_boxes if isinstance(num_boxes, int) else None
    crops = crop(features, tf.stop_gradient(boxes))
    return tf.ensure_shape(crops, [static, *crop_size, features.shape[-1]])


def _features_gradient(
    upstream: tf.Tensor, boxes: tf.Tensor, features_shape: tf.Tensor
) -> tf.Tensor:
    """Adds the gradients of crops [B * P, ch, cw, C] to the map's cells: [B, h, w, C].

    Every sample reads four cells, so the crops are a sparse matrix, four entries a row, times the
    map; this is its transpose times `upstream`.
    """
    batch, height, width, channels = tf.unstack(features_shape)
    rows, row_weights = _linear_samples(boxes[..., 0], boxes[..., 2], upstream.shape[1], height)
    columns, column_weights = _linear_samples(
        boxes[..., 1], boxes[..., 3], upstream.shape[2], width
    )
    image = tf.range(batch)[:, tf.newaxis, tf.newaxis, tf.newaxis, tf.newaxis, tf.newaxis]
    cells = (image * height + rows[:, :, :, tf.newaxis, :, tf.newaxis]) * width
    cells += columns[:, :, tf.newaxis, :, tf.newaxis, :]  # [B, P, ch, cw, 2, 2]
    weights = row_weights[:, :, :, tf.newaxis, :, tf.newaxis]
    weights *= column_weights[:, :, tf.newaxis, :, tf.newaxis, :]
    num_cells = tf.cast(batch * height * width, tf.int64)
    upstream = tf.reshape(upstream, [-1, channels])
    num_samples = tf.shape(upstream, out_type=tf.int64)[0]
    entries = tf.stack(
        [tf.repeat(tf.range(num_samples), 4), tf.cast(tf.reshape(cells, [-1]), tf.int64)], axis=1
    )
    gradient = tf.sparse.sparse_dense_matmul(
        tf.SparseTensor(entries, tf.reshape(weights, [-1]), [num_samples, num_cells]),
        upstream,
        adjoint_a=True,
    )
    return tf.reshape(gradient, features_shape)


def _linear_samples(
    start: tf.Tensor, end: tf.Tensor, num_samples: int, num_cells: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Along one axis: the two cells [B, P, num_samples, 2] of each sample, and their weights.

    The arithmetic is, rounding included, that of `tf.image.crop_and_resize`; a sample outside the
    map has weights 0.
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


def matmul_crop_and_resize(
    features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """`crop_and_resize` as two matrix products, which XLA compiles; for the other it has no kernel.

    Twenty times slower on a CPU, so only for XLA.

    The same for samples on the map. Beyond its border they fade to 0 over one cell instead of at
    once: the interpolation goes on into a world of zeros. (So a sample that rounding puts a hair
    beyond the last cell keeps its value here, where the kernel gives 0.)
    """
    weights_y = _sampling_weights(boxes[..., 0], boxes[..., 2], crop_size[0], features, axis=1)
    weights_x = _sampling_weights(boxes[..., 1], boxes[..., 3], crop_size[1], features, axis=2)
    rows = tf.einsum("bpyh,bhwc->bpywc", weights_y, features)
    crops = tf.einsum("bpxw,bpywc->bpyxc", weights_x, rows)
    return tf.reshape(crops, [_num_boxes(boxes), *crop_size, features.shape[-1]])


def crop_and_max_pool(
    features: tf.Tensor,
    boxes: tf.Tensor,
    crop_size: tuple[int, int],
    pool_size: int,
    pool_stride: int,
    *,
    use_matmul: bool = False,
) -> tf.Tensor:
    """Crops, then max pooling without padding: the OD API's region-of-interest pooling.

    use_matmul takes `matmul_crop_and_resize`. With pool_size and pool_stride 1 the crops come
    back as they are.
    """
    crop = matmul_crop_and_resize if use_matmul else crop_and_resize
    crops = crop(features, boxes, crop_size)
    if pool_size == 1 and pool_stride == 1:
        return crops
    return tf.nn.max_pool2d(crops, pool_size, pool_stride, "VALID")


def _num_boxes(boxes: tf.Tensor) -> tf.Tensor | int:
    """B * P, as an integer where it is known."""
    batch, number = boxes.shape[0], boxes.shape[1]
    if batch is None or number is None:
        return tf.reduce_prod(tf.shape(boxes)[:2])
    return batch * number


def _sampling_weights(
    start: tf.Tensor, end: tf.Tensor, num_samples: int, features: tf.Tensor, axis: int
) -> tf.Tensor:
    """[B, P, num_samples, cells]: how much each cell of an axis counts in each linear sample.

    Samples go from start to end [B, P]; a single one lies in the middle.
    """
    num_cells = tf.shape(features)[axis]
    steps = tf.linspace(0.0, 1.0, num_samples) if num_samples > 1 else tf.constant([0.5])
    start, end = start[..., tf.newaxis], end[..., tf.newaxis]
    samples = (start + (end - start) * steps) * tf.cast(num_cells - 1, start.dtype)
    cells = tf.cast(tf.range(num_cells), start.dtype)
    return tf.nn.relu(1.0 - tf.abs(samples[..., tf.newaxis] - cells))
