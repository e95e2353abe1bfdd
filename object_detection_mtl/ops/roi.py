"""Cutting regions of interest out of a feature map.

Shape letters: B batch, P boxes per image, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

import tensorflow as tf


def crop_and_resize(
    features: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """Bilinear crops [B * P, ch, cw, C] of features [B, h, w, C], image by image in order.

    boxes [B, P, 4] are in [0, 1] of the feature map as `tf.image.crop_and_resize` counts: 0 is the
    centre of the first cell, 1 that of the last. Samples outside the map are 0.
    """
    batch, num_boxes = tf.unstack(tf.shape(boxes)[:2])
    image_of_box = tf.repeat(tf.range(batch), num_boxes)
    crops = tf.image.crop_and_resize(
        features, tf.reshape(boxes, [-1, 4]), image_of_box, list(crop_size)
    )
    static_rows = None if None in boxes.shape[:2] else boxes.shape[0] * boxes.shape[1]
    return tf.ensure_shape(crops, [static_rows, *crop_size, features.shape[-1]])


def crop_and_max_pool(
    features: tf.Tensor,
    boxes: tf.Tensor,
    crop_size: tuple[int, int],
    pool_size: int,
    pool_stride: int,
) -> tf.Tensor:
    """`crop_and_resize`, then max pooling without padding: the OD API's region-of-interest pooling.

    With pool_size and pool_stride 1 the crops come back as they are.
    """
    crops = crop_and_resize(features, boxes, crop_size)
    if pool_size == 1 and pool_stride == 1:
        return crops
    return tf.nn.max_pool2d(crops, pool_size, pool_stride, "VALID")
