"""Random augmentation of one image and its boxes.

Shape letters: N objects of one image, H W the image. Every function returns the changed image and,
if boxes are given, the changed boxes, in this order; steps that drop objects also need labels and
return them. `tf.random.set_seed` makes the result repeatable.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from object_detection_mtl.data import (
    augmentation,
    augmentation_colors,
    augmentation_crops,
    augmentation_layout,
)
from object_detection_mtl.data.augmentation import IMAGE, Augmentation, Example
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)

_MAX_SEED = 2**31 - 1


def random_horizontal_flip(image: Any, boxes: Any = None, probability: float = 0.5) -> Any:
    """Flip the image [H, W, 3] and boxes [N, 4] left to right at random."""
    return _apply(augmentation.random_horizontal_flip(probability), image, boxes)


def random_vertical_flip(image: Any, boxes: Any = None, probability: float = 0.5) -> Any:
    """Flip the image [H, W, 3] and boxes [N, 4] top to bottom at random."""
    return _apply(augmentation_layout.random_vertical_flip(probability), image, boxes)


def random_rotation90(image: Any, boxes: Any = None, probability: float = 0.5) -> Any:
    """Rotate the image [H, W, 3] and boxes [N, 4] by 90 degrees at random."""
    return _apply(augmentation_layout.random_rotation90(probability), image, boxes)


def random_adjust_brightness(image: Any, max_delta: float = 0.2) -> tf.Tensor:
    """Change the brightness of the image [H, W, 3] at random."""
    return _apply(augmentation_colors.random_adjust_brightness(max_delta), image)


def random_adjust_contrast(
    image: Any, min_delta: float = 0.8, max_delta: float = 1.25
) -> tf.Tensor:
    """Change the contrast of the image [H, W, 3] at random."""
    return _apply(augmentation_colors.random_adjust_contrast(min_delta, max_delta), image)


def random_adjust_hue(image: Any, max_delta: float = 0.02) -> tf.Tensor:
    """Change the hue of the image [H, W, 3] at random."""
    return _apply(augmentation_colors.random_adjust_hue(max_delta), image)


def random_adjust_saturation(
    image: Any, min_delta: float = 0.8, max_delta: float = 1.25
) -> tf.Tensor:
    """Change the saturation of the image [H, W, 3] at random."""
    return _apply(augmentation_colors.random_adjust_saturation(min_delta, max_delta), image)


def random_distort_color(image: Any, color_ordering: int = 0) -> tf.Tensor:
    """Change brightness, saturation, hue and contrast of the image [H, W, 3] at random."""
    return _apply(augmentation_colors.random_distort_color(color_ordering), image)


def random_rgb_to_gray(image: Any, probability: float = 0.1) -> tf.Tensor:
    """Make the channels of the image [H, W, 3] equal at random."""
    return _apply(augmentation_colors.random_rgb_to_gray(probability), image)


def random_image_scale(
    image: Any, min_scale_ratio: float = 0.5, max_scale_ratio: float = 2.0
) -> tf.Tensor:
    """Resize the image [H, W, 3] by a random factor."""
    return _apply(augmentation_layout.random_image_scale(min_scale_ratio, max_scale_ratio), image)


def random_crop_image(
    image: Any,
    boxes: Any,
    labels: Any,
    label_weights: Any,
    min_object_covered: float = 1.0,
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33),
    area_range: tuple[float, float] = (0.1, 1.0),
    overlap_thresh: float = 0.3,
    clip_boxes: bool = True,
    random_coef: float = 0.0,
) -> tuple[tf.Tensor, ...]:
    """Crop the image at random so that enough of an object is visible.

    Args:
        image: [H, W, 3].
        boxes: [N, 4] normalized.
        labels: [N].
        label_weights: [N].
        min_object_covered: see `augmentation_crops.CropOptions`, as the following ones.
        aspect_ratio_range: width / height.
        area_range: fractions of the image.
        overlap_thresh: objects with a smaller fraction inside are dropped.
        clip_boxes: clip the boxes to the crop.
        random_coef: probability that the image is not cropped.

    Returns:
        Image, boxes, labels and weights.
    """
    options = augmentation_crops.CropOptions(
        min_object_covered,
        aspect_ratio_range,
        area_range,
        overlap_thresh,
        clip_boxes,
        random_coef,
    )
    example = _example(image, boxes)
    example[Groundtruth.classes] = tf.convert_to_tensor(labels)
    example[Groundtruth.weights] = tf.convert_to_tensor(label_weights)
    changed = augmentation_crops.random_crop_image(options)(example, _seed())
    keys = (IMAGE, Groundtruth.boxes, Groundtruth.classes, Groundtruth.weights)
    return tuple(changed[key] for key in keys)


def _example(image: Any, boxes: Any) -> Example:
    boxes = tf.zeros([0, 4]) if boxes is None else tf.cast(boxes, tf.float32)
    return {IMAGE: tf.convert_to_tensor(image), Groundtruth.boxes: boxes}


def _seed() -> tf.Tensor:
    return tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)


def _apply(change: Augmentation, image: Any, boxes: Any = None) -> Any:
    changed = change(_example(image, boxes), _seed())
    return changed[IMAGE] if boxes is None else (changed[IMAGE], changed[Groundtruth.boxes])
