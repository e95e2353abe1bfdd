"""Random crops and padding to an aspect ratio, and SSD's combinations of crops and padding.

Every factory returns an augmentation as augmentation.py defines it. The names, defaults and
meanings of the arguments are those of preprocessor.proto. Aspect ratios are width / height.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.data import augmentation_crops
from object_detection_mtl.data.augmentation import (
    IMAGE,
    Augmentation,
    Example,
    apply_all,
    check_probability,
    split_seed,
    uniform,
    whole_number,
)
from object_detection_mtl.data.augmentation_crops import CropOptions


@dataclass(frozen=True)
class CropAndPadding:
    """One kind of crop with padding; see `augmentation_crops.random_crop_pad_image`."""

    crop: CropOptions
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0)
    max_padded_size_ratio: tuple[float, float] = (2.0, 2.0)
    pad_color: Sequence[float] | None = None


# The kinds of the OD API: those of SSD without the one that covers nothing.
SSD_CROPS_AND_PADDING = tuple(CropAndPadding(crop) for crop in augmentation_crops.SSD_CROPS[1:])


def random_crop_to_aspect_ratio(
    aspect_ratio: float = 1.0, overlap_thresh: float = 0.3, clip_boxes: bool = True
) -> Augmentation:
    """Return an augmentation that crops one side at a random place to get an aspect ratio.

    Args:
        aspect_ratio: of the crop.
        overlap_thresh: an object with a smaller fraction inside the crop is dropped.
        clip_boxes: clip the boxes to the crop.

    Returns:
        The augmentation.
    """
    _check_ratio("random_crop_to_aspect_ratio", aspect_ratio)
    check_probability("random_crop_to_aspect_ratio: overlap_thresh as", overlap_thresh)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        sides = tf.shape(example[IMAGE])[:2]
        size = tf.minimum(tf.cast(sides, tf.float32), _other_sides(sides, aspect_ratio))
        size = tf.clip_by_value(tf.cast(tf.round(size), tf.int32), 1, sides)
        begin = whole_number(seed, tf.zeros_like(sides), sides - size)
        return augmentation_crops.crop_rectangle(
            example, begin, size, overlap_thresh=overlap_thresh, clip_boxes=clip_boxes
        )

    return augment


def random_pad_to_aspect_ratio(
    aspect_ratio: float = 1.0,
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0),
    max_padded_size_ratio: tuple[float, float] = (4.0, 4.0),
) -> Augmentation:
    """Return an augmentation that pads the image at random to an aspect ratio.

    Args:
        aspect_ratio: of the padded image.
        min_padded_size_ratio: smallest (height, width) after padding, as fractions of the image.
        max_padded_size_ratio: largest (height, width), unless the aspect ratio needs more.

    Returns:
        The augmentation.
    """
    _check_ratio("random_pad_to_aspect_ratio", aspect_ratio)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        scale_seed, place_seed = split_seed(seed)
        sides = tf.cast(tf.shape(example[IMAGE])[:2], tf.float32)
        # The smallest size of the aspect ratio that holds the image.
        least = tf.maximum(sides, _other_sides(sides, aspect_ratio))
        largest = tf.reduce_min(tf.maximum(sides * max_padded_size_ratio / least, 1.0))
        smallest = tf.reduce_max(tf.maximum(sides * min_padded_size_ratio / least, 1.0))
        scale = uniform(scale_seed, tf.minimum(smallest, largest), largest)
        size = tf.cast(tf.round(least * scale), tf.int32)
        return augmentation_crops.pad_to_random_size(example, size, size, None, place_seed)

    return augment


def ssd_random_crop_pad(
    operations: Sequence[CropAndPadding] = SSD_CROPS_AND_PADDING,
) -> Augmentation:
    """Return an augmentation that chooses one of several kinds of crop with padding."""
    return _one_of(
        [
            augmentation_crops.random_crop_pad_image(
                kind.crop, kind.min_padded_size_ratio, kind.max_padded_size_ratio, kind.pad_color
            )
            for kind in operations
        ]
    )


def ssd_random_crop_fixed_aspect_ratio(
    operations: Sequence[CropOptions] = augmentation_crops.SSD_CROPS, aspect_ratio: float = 1.0
) -> Augmentation:
    """Return `ssd_random_crop` with crops of one aspect ratio."""
    _check_ratio("ssd_random_crop_fixed_aspect_ratio", aspect_ratio)
    ratios = (aspect_ratio, aspect_ratio)
    crops = [dataclasses.replace(kind, aspect_ratio_range=ratios) for kind in operations]
    steps = (
        augmentation_crops.ssd_random_crop(crops),
        # A crop has whole pixels, and a kind may leave the image as it is.
        random_crop_to_aspect_ratio(aspect_ratio),
    )
    return lambda example, seed: apply_all(example, steps, seed)


def ssd_random_crop_pad_fixed_aspect_ratio(
    operations: Sequence[CropOptions] = augmentation_crops.SSD_CROPS,
    aspect_ratio: float = 1.0,
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0),
    max_padded_size_ratio: tuple[float, float] = (4.0, 4.0),
) -> Augmentation:
    """Return `ssd_random_crop`, then padding to one aspect ratio."""
    steps = (
        augmentation_crops.ssd_random_crop(operations),
        random_pad_to_aspect_ratio(aspect_ratio, min_padded_size_ratio, max_padded_size_ratio),
    )
    return lambda example, seed: apply_all(example, steps, seed)


def _other_sides(sides: tf.Tensor, aspect_ratio: float) -> tf.Tensor:
    """Return the height [2] that fits the width, and the width that fits the height."""
    # One vector: TensorFlow's graph optimizer computes the wrong maxima of two scalars that are
    # stacked, where it knows the size of the image.
    return tf.cast(sides, tf.float32)[::-1] * tf.constant([1.0 / aspect_ratio, aspect_ratio])


def _one_of(augmentations: Sequence[Augmentation]) -> Augmentation:
    """Return an augmentation that chooses one of several with equal probability."""

    def augment(example: Example, seed: tf.Tensor) -> Example:
        change_seed, choice_seed = split_seed(seed)
        branches = [lambda change=change: change(example, change_seed) for change in augmentations]
        return tf.switch_case(whole_number(choice_seed, 0, len(augmentations) - 1), branches)

    return augment


def _check_ratio(step: str, aspect_ratio: float) -> None:
    if aspect_ratio <= 0.0:
        raise ValueError(f"{step}: aspect_ratio is {aspect_ratio:g}, expected more than 0")
