"""Windows around the objects of an image, in several sizes.

Shape letters: N boxes, W windows, S scales, B images, ... any leading dimensions (the batch).
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.mtl.labels.padded_objects import Array, are_objects, as_boxes, in_float64
from object_detection_mtl.mtl.labels.window_sampling import as_seed, uniform_bits
from object_detection_mtl.ops.tensor_shapes import size

# Scales 2 to 2^16: a box of a pixel in an image of 32,768 still grows to the whole image.
_NUM_SCALES = 16
_LAST = tf.int64.max


def object_windows(
    boxes: Array,
    num_windows: int = 64,
    *,
    seed: Array | int,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return windows around objects, as the second mode of the authors' converter.

    The first window is the whole image. For each object follow windows with its center and 2, 4,
    8... times its sides, clipped to the image, as long as they do not cover the whole image. Of an
    image with more than W windows the first and a random selection of the others are returned.

    Args:
        boxes: normalized [..., N, 4]. Their type is the windows' type. Boxes without area, or
            outside the image, have no windows.
        num_windows: W.
        seed: seed of the selection: integers [2], one integer, or a seed per image, [..., 2].
        num_boxes: see padded_objects.py.
        valid: see padded_objects.py.

    Returns:
        windows [..., W, 4], padded with the whole image, and int32 [...], how many there are.

    Raises:
        ValueError: num_windows is less than 1, or a seed of another shape.
    """
    if num_windows < 1:
        raise ValueError(f"num_windows is {num_windows}, expected at least 1.")
    boxes = as_boxes(boxes, "boxes")
    objects = in_float64(boxes, are_objects(boxes, num_boxes=num_boxes, valid=valid))
    leading = [size(boxes, axis) for axis in range(boxes.shape.rank - 2)]
    flat = tf.reshape(objects, [-1, size(boxes, -2), 4])
    candidates, exists = _candidates(flat)
    count = tf.reduce_sum(tf.cast(exists, tf.int32), axis=1)
    keys = _selection_keys(exists, count < num_windows, as_seed(seed, boxes))
    # Enough rows for every selection; they come last.
    keys = tf.pad(keys, [[0, 0], [0, num_windows]], constant_values=_LAST)
    candidates = tf.concat([candidates, _whole_images(flat, num_windows)], axis=1)
    chosen = tf.argsort(keys, axis=-1, stable=True)[:, : num_windows - 1]
    windows = tf.concat(
        [_whole_images(flat, 1), tf.gather(candidates, chosen, batch_dims=1)], axis=1
    )
    in_use = tf.minimum(count + 1, num_windows)
    is_used = tf.sequence_mask(in_use, num_windows)[..., tf.newaxis]
    windows = tf.where(is_used, windows, _whole_images(flat, 1))
    return (
        tf.cast(tf.reshape(windows, [*leading, num_windows, 4]), boxes.dtype),
        tf.reshape(in_use, leading),
    )


def _candidates(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the windows [B, N * S, 4] of boxes [B, N, 4], and bool [B, N * S], which exist."""
    begins, ends = tf.split(boxes, 2, axis=-1)
    center, half = (begins + ends) / 2.0, (ends - begins) / 2.0
    scales = tf.constant([2.0 ** (step + 1) for step in range(_NUM_SCALES)], tf.float64)
    half = half[..., tf.newaxis, :] * scales[:, tf.newaxis]  # [B, N, S, 2]
    center = center[..., tf.newaxis, :]
    low, high = tf.maximum(center - half, 0.0), tf.minimum(center + half, 1.0)
    covers = tf.reduce_all((low <= 0.0) & (high >= 1.0), axis=-1)
    inside = tf.reduce_all(tf.maximum(begins, 0.0) < tf.minimum(ends, 1.0), axis=-1)
    exists = inside[..., tf.newaxis] & ~covers
    number = size(boxes, 1) * _NUM_SCALES
    windows = tf.reshape(tf.concat([low, high], axis=-1), [size(boxes, 0), number, 4])
    return windows, tf.reshape(exists, [size(boxes, 0), number])


def _selection_keys(exists: tf.Tensor, fits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return int64 [B, N * S]: the order of the windows, random in images where `fits` is false.

    The bits of a window depend on its image's seed and its own place alone, not on the padding.
    """
    images, number = size(exists, 0), size(exists, 1)
    if seed.shape.rank == 1:
        seed = tf.stack([tf.broadcast_to(seed[0], [images]), seed[1] + tf.range(images)], axis=-1)
    bits = tf.cast(uniform_bits(seed, [number]), tf.int64)
    places = tf.range(number, dtype=tf.int64)
    keys = tf.where(fits[:, tf.newaxis], places, bits)
    return tf.where(exists, keys, _LAST)


def _whole_images(boxes: tf.Tensor, number: int) -> tf.Tensor:
    """Return float64 [B, number, 4], the whole image each."""
    return tf.tile(tf.constant([[[0.0, 0.0, 1.0, 1.0]]], tf.float64), [size(boxes, 0), number, 1])
