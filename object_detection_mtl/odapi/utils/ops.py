"""Operations on boxes and masks. Shape letters: N objects, H W an image, h w a mask of a box."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


def reframe_box_masks_to_image_masks(
    box_masks: Any,
    boxes: Any,
    image_height: Any,
    image_width: Any,
    resize_method: str = "bilinear",
) -> tf.Tensor:
    """Return masks [N, H, W] of the whole image from the masks [N, h, w] of boxes.

    Args:
        box_masks: [N, h, w].
        boxes: [N, 4] normalized.
        image_height: H.
        image_width: W.
        resize_method: `bilinear` or `nearest`.
    """
    box_masks = tf.cast(box_masks, tf.float32)
    boxes = tf.cast(boxes, tf.float32)
    corner, opposite = boxes[:, :2], boxes[:, 2:]
    sides = tf.maximum(opposite - corner, 1e-9)
    # The image's frame in units of each box: the region that crop_and_resize samples.
    frame = tf.concat([-corner / sides, (1.0 - corner) / sides], axis=1)
    masks = tf.image.crop_and_resize(
        box_masks[..., tf.newaxis],
        frame,
        tf.range(tf.shape(boxes)[0]),
        [image_height, image_width],
        method=resize_method,
        extrapolation_value=0.0,
    )
    return tf.squeeze(masks, axis=-1)
