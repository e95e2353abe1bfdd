"""Augmentations that change the size of an image: resizing, scaling, repetition.

Shape letters: N objects of one image, H W an image.

Every factory returns an augmentation as augmentation.py defines it. The names, defaults and
meanings of the arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    IMAGE,
    OBJECT_LISTS,
    Augmentation,
    Example,
    chance,
    check_probability,
    keep_objects,
    split_seed,
    uniform,
    unless,
    whole_number,
)
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.ops import boxes as box_ops

RESIZE_METHODS = {
    "AREA": tf.image.ResizeMethod.AREA,
    "BICUBIC": tf.image.ResizeMethod.BICUBIC,
    "BILINEAR": tf.image.ResizeMethod.BILINEAR,
    "NEAREST_NEIGHBOR": tf.image.ResizeMethod.NEAREST_NEIGHBOR,
}


def resize_image(new_height: int, new_width: int, method: str = "BILINEAR") -> Augmentation:
    """Return an augmentation that resizes the image to a fixed size.

    Args:
        new_height: in pixels.
        new_width: in pixels.
        method: one of RESIZE_METHODS.

    Returns:
        The augmentation.
    """
    _check_size("resize_image", new_height, new_width)
    if method not in RESIZE_METHODS:
        raise ValueError(
            f"resize_image: method is {method!r}, expected one of {', '.join(RESIZE_METHODS)}"
        )
    return lambda example, seed: _resized(example, [new_height, new_width], RESIZE_METHODS[method])


def random_resize_method(target_height: int, target_width: int) -> Augmentation:
    """Return an augmentation that resizes to a fixed size by a random method."""
    _check_size("random_resize_method", target_height, target_width)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        def branch(method: str) -> Callable[[], Example]:
            return lambda: _resized(example, [target_height, target_width], method)

        branches = [branch(method) for method in RESIZE_METHODS.values()]
        return tf.switch_case(whole_number(seed, 0, len(branches) - 1), branches)

    return augment


def random_downscale_to_target_pixels(
    random_coef: float = 0.0, min_target_pixels: int = 300000, max_target_pixels: int = 500000
) -> Augmentation:
    """Return an augmentation that resizes an image with too many pixels to a random number.

    Args:
        random_coef: probability that the image stays as it is.
        min_target_pixels: least number of pixels.
        max_target_pixels: greatest number of pixels. Images with fewer than the drawn number stay
            as they are.

    Returns:
        The augmentation.
    """
    check_probability("random_downscale_to_target_pixels: random_coef as", random_coef)
    if not 1 <= min_target_pixels <= max_target_pixels:
        raise ValueError(
            f"random_downscale_to_target_pixels: min_target_pixels is {min_target_pixels} and "
            f"max_target_pixels {max_target_pixels}, expected 1 <= minimum <= maximum"
        )

    def downscale(example: Example, seed: tf.Tensor) -> Example:
        target = tf.cast(whole_number(seed, min_target_pixels, max_target_pixels), tf.float32)
        sides = tf.cast(tf.shape(example[IMAGE])[:2], tf.float32)
        factor = tf.minimum(tf.sqrt(target / tf.reduce_prod(sides)), 1.0)
        size = tf.maximum(tf.cast(sides * factor, tf.int32), 1)
        return tf.cond(
            factor < 1.0,
            lambda: _resized(example, size, tf.image.ResizeMethod.BILINEAR),
            lambda: dict(example),
        )

    return unless(random_coef, downscale)


def random_scale_crop_and_pad_to_square(
    output_size: int = 512, scale_min: float = 0.1, scale_max: float = 2.0
) -> Augmentation:
    """Return an augmentation that scales at random, then crops or pads to a square.

    The longer side becomes output_size times a factor in [scale_min, scale_max]. What exceeds the
    square is cropped at a random place; what is missing is black, at the bottom and right. Boxes
    are clipped to the square, and objects outside it are dropped.

    Args:
        output_size: side of the square in pixels.
        scale_min: least factor.
        scale_max: greatest factor.

    Returns:
        The augmentation.
    """
    if output_size < 1 or not 0.0 < scale_min <= scale_max:
        raise ValueError(
            f"random_scale_crop_and_pad_to_square: output_size is {output_size}, scale_min "
            f"{scale_min:g}, scale_max {scale_max:g}; expected a positive size and "
            "0 < scale_min <= scale_max"
        )

    def augment(example: Example, seed: tf.Tensor) -> Example:
        scale_seed, place_seed = split_seed(seed)
        sides = tf.cast(tf.shape(example[IMAGE])[:2], tf.float32)
        factor = uniform(scale_seed, scale_min, scale_max) * output_size / tf.reduce_max(sides)
        size = tf.maximum(tf.cast(tf.round(sides * factor), tf.int32), 1)
        scaled = _resized(example, size, tf.image.ResizeMethod.BILINEAR)
        begin = whole_number(place_seed, [0, 0], tf.maximum(size - output_size, 0))
        part = scaled[IMAGE][begin[0] : begin[0] + output_size, begin[1] : begin[1] + output_size]
        missing = output_size - tf.shape(part)[:2]
        part = tf.pad(part, tf.concat([tf.stack([[0, 0], missing], axis=1), [[0, 0]]], axis=0))
        frame = tf.cast(tf.concat([begin, begin + output_size], axis=0), tf.float32)
        window = frame / tf.tile(tf.cast(size, tf.float32), [2])
        moved = box_ops.change_coordinate_frame(scaled[Groundtruth.boxes], window)
        moved = tf.clip_by_value(moved, 0.0, 1.0)
        result = {
            **scaled,
            IMAGE: tf.ensure_shape(part, [output_size, output_size, 3]),
            Groundtruth.boxes: moved,
        }
        return keep_objects(result, box_ops.area(moved) > 0.0)

    return augment


def random_self_concat_image(
    concat_vertical_probability: float = 0.1, concat_horizontal_probability: float = 0.1
) -> Augmentation:
    """Return an augmentation that repeats the image below and beside itself, with its objects."""
    names = ("concat_vertical_probability", "concat_horizontal_probability")
    probabilities = (concat_vertical_probability, concat_horizontal_probability)
    for name, probability in zip(names, probabilities, strict=True):
        check_probability(f"random_self_concat_image: {name} as", probability)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        for axis, (probability, own) in enumerate(
            zip(probabilities, split_seed(seed), strict=True)
        ):
            example = _maybe_repeated(example, axis, chance(own, probability))
        return example

    return augment


def _maybe_repeated(example: Example, axis: int, drawn: tf.Tensor) -> Example:
    """Return the example, repeated along an axis of the image if `drawn` is true."""

    def repeated() -> Example:
        lists = {key: example[key] for key in OBJECT_LISTS if key in example}
        twice = {key: tf.concat([values, values], axis=0) for key, values in lists.items()}
        boxes = example[Groundtruth.boxes]
        halves = tf.constant([[0.5, 1.0], [1.0, 0.5]])[axis]
        shift = tf.constant([[0.5, 0.0], [0.0, 0.5]])[axis]
        first = boxes * tf.tile(halves, [2])
        twice[Groundtruth.boxes] = tf.concat([first, first + tf.tile(shift, [2])], axis=0)
        image = tf.concat([example[IMAGE], example[IMAGE]], axis=axis)
        return {**example, **twice, IMAGE: tf.ensure_shape(image, [None, None, 3])}

    unchanged = {**example, IMAGE: tf.ensure_shape(example[IMAGE], [None, None, 3])}
    return tf.cond(drawn, repeated, lambda: unchanged)


def _resized(example: Example, size: tf.Tensor | list[int], method: str) -> Example:
    image = example[IMAGE]
    resized = tf.image.resize(image, size, method)
    resized = tf.clip_by_value(tf.round(tf.cast(resized, tf.float32)), 0.0, 255.0)
    return {**example, IMAGE: tf.ensure_shape(tf.cast(resized, image.dtype), [None, None, 3])}


def _check_size(step: str, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"{step}: the size is {height}x{width}, expected at least 1x1")
