"""Cutting regions of interest out of a feature map.

Shape letters: B batch, P boxes per image, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

import tensorflow as tf


def crop_and_resize(features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    """Bilinear crops [B * P, ch, cw, C] of features [B, h, w, C], image by image in order.

    boxes [B, P, 4] are in [0, 1] of the feature map as `tf.image.crop_and_resize` counts: 0 is the
    centre of the first cell, 1 that of the last. Samples outside the map are 0.
    """
    batch, boxes_per_image = tf.unstack(tf.shape(boxes)[:2])
    image_of_box = tf.repeat(tf.range(batch), boxes_per_image)
    crops = tf.image.crop_and_resize(
        features, tf.reshape(boxes, [-1, 4]), image_of_box, list(crop_size)
    )
    num_boxes = _num_boxes(boxes)
    static = num_boxes if isinstance(num_boxes, int) else None
    return tf.ensure_shape(crops, [static, *crop_size, features.shape[-1]])


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
