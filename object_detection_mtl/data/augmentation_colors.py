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
    unless,
    whole_number,
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


def random_pixel_value_scale(minval: float = 0.9, maxval: float = 1.1) -> Augmentation:
    """Return an augmentation that scales every value by its own number in [minval, maxval]."""
    if not 0.0 <= minval <= maxval:
        raise ValueError(
            f"random_pixel_value_scale: minval is {minval:g} and maxval {maxval:g}, expected "
            "0 <= minval <= maxval"
        )
    return _change_colors(
        lambda image, seed: image * uniform(seed, minval, maxval, tf.shape(image))
    )


def rgb_to_gray() -> Augmentation:
    """Return an augmentation that makes the three channels equal."""
    return random_rgb_to_gray(1.0)


def adjust_gamma(gamma: float = 1.0, gain: float = 1.0) -> Augmentation:
    """Return an augmentation that replaces every fraction f by gain * f^gamma."""
    if gamma < 0.0 or gain < 0.0:
        raise ValueError(
            f"adjust_gamma: gamma is {gamma:g} and gain {gain:g}, expected 0 or more each"
        )
    return _change_colors(lambda image, seed: gain * tf.pow(image, gamma))


def random_jpeg_quality(
    random_coef: float = 0.0, min_jpeg_quality: int = 0, max_jpeg_quality: int = 100
) -> Augmentation:
    """Return an augmentation that compresses the image as JPEG and decodes it again.

    Args:
        random_coef: probability that the image stays as it is.
        min_jpeg_quality: least quality, 0 to 100.
        max_jpeg_quality: greatest quality.

    Returns:
        The augmentation.
    """
    check_probability("random_jpeg_quality: random_coef as", random_coef)
    if not 0 <= min_jpeg_quality <= max_jpeg_quality <= 100:
        raise ValueError(
            f"random_jpeg_quality: min_jpeg_quality is {min_jpeg_quality} and max_jpeg_quality "
            f"{max_jpeg_quality}, expected 0 <= minimum <= maximum <= 100"
        )

    def compress(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        quality = whole_number(seed, min_jpeg_quality, max_jpeg_quality)
        return tf.image.adjust_jpeg_quality(image, quality)

    return unless(random_coef, _change_colors(compress))


def random_patch_gaussian(
    random_coef: float = 0.0,
    min_patch_size: int = 1,
    max_patch_size: int = 250,
    min_gaussian_stddev: float = 0.0,
    max_gaussian_stddev: float = 1.0,
) -> Augmentation:
    """Return an augmentation that adds normal noise to a square at a random place.

    Lopes et al. 2019, Improving Robustness Without Sacrificing Accuracy with Patch Gaussian.

    Args:
        random_coef: probability that the image stays as it is.
        min_patch_size: least side of the square, pixels.
        max_patch_size: greatest side; the square may reach beyond the image.
        min_gaussian_stddev: least standard deviation, as a fraction of 255.
        max_gaussian_stddev: greatest standard deviation.

    Returns:
        The augmentation.
    """
    check_probability("random_patch_gaussian: random_coef as", random_coef)
    if not 1 <= min_patch_size <= max_patch_size:
        raise ValueError(
            f"random_patch_gaussian: min_patch_size is {min_patch_size} and max_patch_size "
            f"{max_patch_size}, expected 1 <= minimum <= maximum"
        )
    if not 0.0 <= min_gaussian_stddev <= max_gaussian_stddev:
        raise ValueError(
            f"random_patch_gaussian: min_gaussian_stddev is {min_gaussian_stddev:g} and "
            f"max_gaussian_stddev {max_gaussian_stddev:g}, expected 0 <= minimum <= maximum"
        )

    def add_noise(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        seeds = [
            tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
            for number in range(4)
        ]
        sides = tf.shape(image)[:2]
        side = whole_number(seeds[0], min_patch_size, max_patch_size)
        center = tf.cast(whole_number(seeds[1], tf.zeros_like(sides), sides - 1), tf.float32)
        start, length = center - tf.cast(side // 2, tf.float32), tf.cast(side, tf.float32)
        rows, columns = (
            _covered(tf.range(tf.cast(sides[axis], tf.float32)), start[axis : axis + 1], length)
            for axis in (0, 1)
        )
        deviation = uniform(seeds[2], min_gaussian_stddev, max_gaussian_stddev)
        noise = tf.random.stateless_normal(tf.shape(image), seeds[3], alg="philox") * deviation
        patch = rows & tf.transpose(columns)
        return image + tf.where(patch[..., tf.newaxis], noise, 0.0)

    return unless(random_coef, _change_colors(add_noise))


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
