"""Geometric augmentations: vertical flip, rotation, scaling, box jitter.

Shape letters: N objects of one image, H W the image.

Every factory returns an augmentation as augmentation.py defines it; no object is dropped. The
names, defaults and meanings of the arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    IMAGE,
    Augmentation,
    Example,
    chance,
    check_probability,
    uniform,
)
from object_detection_mtl.fields import Groundtruth

JITTER_MODES = (
    "DEFAULT",
    "EXPAND",
    "SHRINK",
    "EXPAND_SYMMETRIC",
    "SHRINK_SYMMETRIC",
    "EXPAND_SYMMETRIC_XY",
    "SHRINK_SYMMETRIC_XY",
)


def random_vertical_flip(probability: float = 0.5) -> Augmentation:
    """Return an augmentation that flips the image and its boxes top to bottom."""
    check_probability("random_vertical_flip", probability)

    def flipped(example: Example) -> Example:
        top, left, bottom, right = tf.unstack(example[Groundtruth.boxes], axis=-1)
        return {
            **example,
            IMAGE: tf.reverse(example[IMAGE], axis=[0]),
            Groundtruth.boxes: tf.stack([1.0 - bottom, left, 1.0 - top, right], axis=-1),
        }

    return _sometimes(flipped, probability)


def random_rotation90(probability: float = 0.5) -> Augmentation:
    """Return an augmentation that rotates the image and its boxes by 90 degrees.

    The rotation is counterclockwise.
    """
    check_probability("random_rotation90", probability)

    def rotated(example: Example) -> Example:
        top, left, bottom, right = tf.unstack(example[Groundtruth.boxes], axis=-1)
        return {
            **example,
            IMAGE: tf.image.rot90(example[IMAGE]),
            Groundtruth.boxes: tf.stack([1.0 - right, top, 1.0 - left, bottom], axis=-1),
        }

    return _sometimes(rotated, probability)


def random_image_scale(min_scale_ratio: float = 0.5, max_scale_ratio: float = 2.0) -> Augmentation:
    """Return an augmentation that resizes both sides by one random factor.

    The factor is in [min_scale_ratio, max_scale_ratio].
    """
    if not 0.0 < min_scale_ratio <= max_scale_ratio:
        raise ValueError(
            f"random_image_scale: min_scale_ratio is {min_scale_ratio} and max_scale_ratio "
            f"{max_scale_ratio}, expected 0 < min_scale_ratio <= max_scale_ratio"
        )

    def scale(example: Example, seed: tf.Tensor) -> Example:
        image = example[IMAGE]
        factor = uniform(seed, min_scale_ratio, max_scale_ratio)
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        new_sides = tf.maximum(tf.cast(sides * factor, tf.int32), 1)
        resized = tf.image.resize(image, new_sides)
        return {**example, IMAGE: tf.cast(tf.round(resized), image.dtype)}

    return scale


def random_jitter_boxes(ratio: float = 0.05, jitter_mode: str = "DEFAULT") -> Augmentation:
    """Return an augmentation that enlarges or shrinks every box at random.

    Args:
        ratio: 0 to 1; height and width change by up to this fraction, so each side moves by up to
            half of it, as in the OD API.
        jitter_mode: DEFAULT moves every side in either direction. EXPAND moves sides outwards and
            SHRINK inwards, each by its own amount. ..._SYMMETRIC moves opposite sides by the same
            amount, less at the border of the image; ..._SYMMETRIC_XY moves height and width by the
            same fraction.

    Returns:
        The augmentation.
    """
    if not 0.0 <= ratio < 1.0:
        raise ValueError(
            f"random_jitter_boxes: ratio is {ratio}, expected at least 0 and less than 1"
        )
    if jitter_mode not in JITTER_MODES:
        raise ValueError(
            f"random_jitter_boxes: jitter_mode is {jitter_mode!r}, expected one of "
            f"{', '.join(JITTER_MODES)}"
        )
    # Range of each side's move, as fractions of height or width; positive is outwards.
    least = 0.0 if jitter_mode.startswith("EXPAND") else -ratio / 2.0
    most = 0.0 if jitter_mode.startswith("SHRINK") else ratio / 2.0
    alike = 4 if jitter_mode.endswith("_XY") else 2 if "SYMMETRIC" in jitter_mode else 1

    def jitter(example: Example, seed: tf.Tensor) -> Example:
        boxes = example[Groundtruth.boxes]
        begins, ends = boxes[:, :2], boxes[:, 2:]
        moves = uniform(seed, least, most, [tf.shape(boxes)[0], 4 // alike])
        if alike > 1:
            room = tf.minimum(begins, 1.0 - ends) / (ends - begins)
            room = tf.reduce_min(room, axis=1, keepdims=True) if alike == 4 else room
            moves = tf.tile(tf.minimum(moves, room), [1, alike])
        moved = boxes + moves * tf.concat([begins - ends, ends - begins], axis=1)
        return {**example, Groundtruth.boxes: tf.clip_by_value(moved, 0.0, 1.0)}

    return jitter


def _sometimes(change: Callable[[Example], Example], probability: float) -> Augmentation:
    def augment(example: Example, seed: tf.Tensor) -> Example:
        return tf.cond(chance(seed, probability), lambda: change(example), lambda: dict(example))

    return augment
