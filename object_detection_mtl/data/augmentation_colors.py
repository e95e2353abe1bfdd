"""Color augmentations; boxes stay unchanged.

Shape letters: H W an image.

Every factory returns an augmentation as augmentation.py defines it. Colors are changed as in the
OD API: as fractions of 255, clipped to 0..1 after every step; the image stays uint8. The names,
defaults and meanings of the arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    IMAGE,
    Augmentation,
    Example,
    apply_all,
    chance,
    check_probability,
    uniform,
)

# Ranges of random_distort_color in the OD API.
_BRIGHTNESS, _HUE = 32.0 / 255.0, 0.2
_CONTRAST = _SATURATION = (0.5, 1.5)


def random_adjust_brightness(max_delta: float = 0.2) -> Augmentation:
    """Return an augmentation that adds a number in [-max_delta, max_delta] to every fraction."""
    _check_range("random_adjust_brightness", "max_delta", max_delta, 0.0, 1.0)
    return _change_colors(
        lambda image, seed: tf.image.adjust_brightness(image, uniform(seed, -max_delta, max_delta))
    )


def random_adjust_contrast(min_delta: float = 0.8, max_delta: float = 1.25) -> Augmentation:
    """Return an augmentation that scales the contrast by a number in [min_delta, max_delta].

    Contrast is the distance of every channel from its mean.
    """
    _check_order("random_adjust_contrast", min_delta, max_delta)
    return _change_colors(
        lambda image, seed: tf.image.adjust_contrast(image, uniform(seed, min_delta, max_delta))
    )


def random_adjust_hue(max_delta: float = 0.02) -> Augmentation:
    """Return an augmentation that shifts the hue by a fraction in [-max_delta, max_delta]."""
    _check_range("random_adjust_hue", "max_delta", max_delta, 0.0, 0.5)
    return _change_colors(
        lambda image, seed: tf.image.adjust_hue(image, uniform(seed, -max_delta, max_delta))
    )


def random_adjust_saturation(min_delta: float = 0.8, max_delta: float = 1.25) -> Augmentation:
    """Return an augmentation that scales the saturation by a number in [min_delta, max_delta]."""
    _check_order("random_adjust_saturation", min_delta, max_delta)
    return _change_colors(
        lambda image, seed: tf.image.adjust_saturation(image, uniform(seed, min_delta, max_delta))
    )


def random_distort_color(color_ordering: int = 0) -> Augmentation:
    """Return an augmentation that changes brightness, saturation, hue and contrast.

    They are changed in this order (color_ordering 0), or with contrast second (1).
    """
    if color_ordering not in (0, 1):
        raise ValueError(
            f"random_distort_color: color_ordering is {color_ordering}, expected 0 or 1"
        )
    brightness = random_adjust_brightness(_BRIGHTNESS)
    contrast = random_adjust_contrast(*_CONTRAST)
    saturation_and_hue = (random_adjust_saturation(*_SATURATION), random_adjust_hue(_HUE))
    steps = (
        (brightness, *saturation_and_hue, contrast)
        if color_ordering == 0
        else (brightness, contrast, *saturation_and_hue)
    )
    return lambda example, seed: apply_all(example, steps, seed)


def random_rgb_to_gray(probability: float = 0.1) -> Augmentation:
    """Return an augmentation that makes the three channels equal, with the given probability."""
    check_probability("random_rgb_to_gray", probability)

    def gray(image: tf.Tensor) -> tf.Tensor:
        return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))

    return _change_colors(
        lambda image, seed: tf.cond(
            chance(seed, probability), lambda: gray(image), lambda: tf.identity(image)
        )
    )


def random_black_patches(
    max_black_patches: int = 10, probability: float = 0.5, size_to_image_ratio: float = 0.1
) -> Augmentation:
    """Return an augmentation that blackens squares at random places.

    Args:
        max_black_patches: maximum number of squares.
        probability: probability of each square.
        size_to_image_ratio: side of a square as a fraction of the image's shorter side.

    Returns:
        The augmentation.
    """
    check_probability("random_black_patches", probability)
    _check_range("random_black_patches", "size_to_image_ratio", size_to_image_ratio, 0.0, 1.0)
    if max_black_patches < 0:
        raise ValueError(
            f"random_black_patches: max_black_patches is {max_black_patches}, expected 0 or more"
        )

    def blacken(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        side = tf.floor(size_to_image_ratio * tf.reduce_min(sides))
        draws = uniform(seed, 0.0, 1.0, [max_black_patches, 3])
        drawn = draws[:, 2] < probability
        # [2, patches]: top and left of each, in whole pixels inside the image.
        corners = tf.floor(tf.transpose(draws[:, :2]) * (sides[:, tf.newaxis] - side + 1.0))
        rows, columns = (
            _covered(tf.range(sides[axis]), corners[axis], side) & drawn for axis in (0, 1)
        )
        black = tf.matmul(tf.cast(rows, tf.float32), tf.cast(columns, tf.float32), transpose_b=True)
        return tf.where(black[..., tf.newaxis] > 0.0, 0.0, image)

    return _change_colors(blacken)


def _covered(pixels: tf.Tensor, starts: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Return bool [pixels, starts]: whether a pixel is in [start, start + length)."""
    distance = pixels[:, tf.newaxis] - starts
    return (distance >= 0.0) & (distance < length)


def _change_colors(change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Augmentation:
    """Return an augmentation from a change of fractions [H, W, 3] float32."""

    def augment(example: Example, seed: tf.Tensor) -> Example:
        fractions = tf.cast(example[IMAGE], tf.float32) / 255.0
        fractions = tf.clip_by_value(change(fractions, seed), 0.0, 1.0)
        image = tf.cast(tf.round(fractions * 255.0), example[IMAGE].dtype)
        return {**example, IMAGE: tf.ensure_shape(image, example[IMAGE].shape)}

    return augment


def _check_range(step: str, name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{step}: {name} is {value:g}, expected {low:g} to {high:g}")


def _check_order(step: str, min_delta: float, max_delta: float) -> None:
    if not 0.0 <= min_delta <= max_delta:
        raise ValueError(
            f"{step}: min_delta is {min_delta:g} and max_delta {max_delta:g}, expected "
            "0 <= min_delta <= max_delta"
        )
