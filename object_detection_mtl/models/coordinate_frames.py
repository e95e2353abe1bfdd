"""Coordinate frames of boxes: inputs, true image, feature map.

Shape letters: B batch, N boxes of an image.

The feature map covers the inputs, padding included.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.ops import boxes as box_ops

# Coordinate on the map of a box's end at the border. The RoI crop reads zeros beyond the map, and
# its own rounding puts the last samples of some of the boxes that end at the border there: a whole
# row or column of such a crop would be lost, or not, by chance. Sample positions are rounded six
# times at most, so they overshoot by less than 6 * 2^-24 = 3.6e-7 of the map's side.
LAST_ON_MAP = 1.0 - 5e-7


def inputs_window(image_shape: tf.Tensor) -> tf.Tensor:
    """Return the window [4] of inputs of shape [4], in absolute pixels."""
    sides = tf.cast(image_shape[1:3], tf.float32)
    return tf.concat([tf.zeros_like(sides), sides], axis=0)


def absolute_to_map(boxes: tf.Tensor, image_shape: tf.Tensor) -> tf.Tensor:
    """Return boxes [B, N, 4] in pixels of the inputs (shape [4]) relative to the map."""
    boxes = box_ops.change_coordinate_frame(boxes, inputs_window(image_shape))
    return tf.minimum(boxes, LAST_ON_MAP)


def normalized_to_map(
    boxes: tf.Tensor, image_shape: tf.Tensor, true_image_shapes: tf.Tensor
) -> tf.Tensor:
    """Return boxes [B, N, 4] normalized to the true images (shapes [B, 3]) relative to the map."""
    sides = tf.cast(image_shape[1:3], tf.float32)
    share = tf.cast(true_image_shapes[:, :2], tf.float32) / sides
    return tf.minimum(box_ops.scale(boxes, share[:, 0], share[:, 1]), LAST_ON_MAP)


def image_windows(true_image_shapes: tf.Tensor) -> tf.Tensor:
    """Return the windows [B, 4] of images of shapes [B, 3], in absolute pixels."""
    sides = tf.cast(true_image_shapes[:, :2], tf.float32)
    return tf.concat([tf.zeros_like(sides), sides], axis=1)
