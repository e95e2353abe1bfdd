"""Random flips, turns and scalings of the whole picture, and small errors of its boxes.

Shape letters: N objects of one picture, H W the picture.

Every factory returns an augmentation in the sense of augment.py; no object is lost. The names,
defaults and meanings of the arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data.augment import (
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
    """Mirrors the picture top to bottom, and its boxes with it."""
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
    """Turns the picture by 90 degrees, counter-clockwise, and its boxes with it."""
    check_probability("random_rotation90", probability)

    def turned(example: Example) -> Example:
        top, left, bottom, right = tf.unstack(example[Groundtruth.boxes], axis=-1)
        return {
            **example,
            IMAGE: tf.image.rot90(example[IMAGE]),
            Groundtruth.boxes: tf.stack([1.0 - right, top, 1.0 - left, bottom], axis=-1),
        }

    return _sometimes(turned, probability)


def random_image_scale(min_scale_ratio: float = 0.5, max_scale_ratio: float = 2.0) -> Augmentation:
    """Resizes the picture by a factor in [min_scale_ratio, max_scale_ratio], both sides alike."""
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
    """Moves the sides of every box at random, up to `ratio` of its height or width.

    Args:
      ratio: 0 to 0.5.
      jitter_mode: DEFAULT moves every side either way. EXPAND moves them outwards and SHRINK
        inwards, each by an amount of its own; ..._SYMMETRIC opposite sides by the same amount,
        ..._SYMMETRIC_XY all four by the same part of height and width. Boxes are cut at the
        picture.
    """
    if not 0.0 <= ratio <= 0.5:
        raise ValueError(f"random_jitter_boxes: ratio is {ratio}, expected 0 to 0.5")
    if jitter_mode not in JITTER_MODES:
        raise ValueError(
            f"random_jitter_boxes: jitter_mode is {jitter_mode!r}, expected one of "
            f"{', '.join(JITTER_MODES)}"
        )
    outwards = tf.constant([-1.0, -1.0, 1.0, 1.0])

    def jitter(example: Example, seed: tf.Tensor) -> Example:
        boxes = example[Groundtruth.boxes]
        number = tf.shape(boxes)[0]
        if jitter_mode == "DEFAULT":
            moves = uniform(seed, -ratio, ratio, [number, 4])
        else:
            columns = 1 if jitter_mode.endswith("_XY") else 2 if "SYMMETRIC" in jitter_mode else 4
            amounts = tf.tile(uniform(seed, 0.0, ratio, [number, columns]), [1, 4 // columns])
            moves = amounts * outwards * (1.0 if jitter_mode.startswith("EXPAND") else -1.0)
        sides = boxes[:, 2:] - boxes[:, :2]
        moved = boxes + moves * tf.tile(sides, [1, 2])
        return {**example, Groundtruth.boxes: tf.clip_by_value(moved, 0.0, 1.0)}

    return jitter


def _sometimes(change: Callable[[Example], Example], probability: float) -> Augmentation:
    def augment(example: Example, seed: tf.Tensor) -> Example:
        return tf.cond(chance(seed, probability), lambda: change(example), lambda: dict(example))

    return augment
