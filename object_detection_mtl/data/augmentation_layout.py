"""Random flips, turns and scalings of the whole picture, and small errors of its boxes.

Shape letters: N objects of one picture, H W the picture.

Every factory returns an augmentation in the sense of augmentation.py; no object is lost. The names,
defaults and meanings of the arguments are those of preprocessor.proto.
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
    """Makes every box a little larger or smaller, at random.

    Args:
      ratio: 0 to 1; a box keeps its centre and becomes up to this part higher or wider, so that a
        side moves by up to half of it, as in the OD API.
      jitter_mode: DEFAULT moves every side either way. EXPAND moves them outwards and SHRINK
        inwards, each by an amount of its own. ..._SYMMETRIC moves opposite sides by the same
        amount, less where the picture ends; ..._SYMMETRIC_XY height and width by the same part.
    """
    if not 0.0 <= ratio < 1.0:
        raise ValueError(f"random_jitter_boxes: ratio is {ratio}, expected 0 to 1, without 1")
    if jitter_mode not in JITTER_MODES:
        raise ValueError(
            f"random_jitter_boxes: jitter_mode is {jitter_mode!r}, expected one of "
            f"{', '.join(JITTER_MODES)}"
        )
    # Of each side, as parts of height or width, outwards positive.
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
