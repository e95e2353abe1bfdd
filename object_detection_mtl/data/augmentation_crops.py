"""Random crops and random padding of an image and its boxes.

Shape letters: N objects of one image, H W an image.

Every factory returns an augmentation as augmentation.py defines it. Objects of which too little
stays in the crop are dropped, with all their labels. The names, defaults and meanings of the
arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    IMAGE,
    Augmentation,
    Example,
    check_probability,
    keep_objects,
    split_seed,
    uniform,
    whole_number,
)
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.ops import boxes as box_ops

_ATTEMPTS = 100  # to find a valid crop; if all fail, the image is not cropped


@dataclass(frozen=True)
class CropOptions:
    """Sampling of a crop, and the objects that it keeps.

    Attributes:
        min_object_covered: a crop covers at least this fraction of one object.
        aspect_ratio_range: width / height of the crop.
        area_range: area of the crop as a fraction of the image's.
        overlap_thresh: an object with a smaller fraction inside the crop is dropped.
        clip_boxes: clip the boxes to the crop.
        random_coef: probability that the image is not cropped.
    """

    min_object_covered: float = 1.0
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33)
    area_range: tuple[float, float] = (0.1, 1.0)
    overlap_thresh: float = 0.3
    clip_boxes: bool = True
    random_coef: float = 0.0

    def __post_init__(self) -> None:
        check_probability("min_object_covered of a random crop", self.min_object_covered)
        check_probability("overlap_thresh of a random crop", self.overlap_thresh)
        check_probability("random_coef of a random crop", self.random_coef)
        for name in ("aspect_ratio_range", "area_range"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high or (name == "area_range" and high > 1.0):
                raise ValueError(
                    f"a random crop: {name} is {low:g} to {high:g}, expected 0 < minimum <= maximum"
                    f"{' <= 1' if name == 'area_range' else ''}"
                )


SSD_CROPS = tuple(
    CropOptions(
        min_object_covered=overlap,
        aspect_ratio_range=(0.5, 2.0),
        overlap_thresh=overlap,
        random_coef=0.15,
    )
    for overlap in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
)


def random_crop_image(options: CropOptions | None = None) -> Augmentation:
    """Return an augmentation that crops at random so that enough of an object is visible."""
    options = options or CropOptions()

    def augment(example: Example, seed: tf.Tensor) -> Example:
        crop_seed, coin_seed = split_seed(seed)
        return tf.cond(
            uniform(coin_seed, 0.0, 1.0) < options.random_coef,
            lambda: dict(example),
            lambda: _random_crop(example, options, crop_seed),
        )

    return augment


def ssd_random_crop(operations: Sequence[CropOptions] = SSD_CROPS) -> Augmentation:
    """Return an augmentation that chooses one of several kinds of crop with equal probability.

    As in SSD (Liu et al. 2016, section 2.2).
    """
    crops = [random_crop_image(options) for options in operations]

    def augment(example: Example, seed: tf.Tensor) -> Example:
        crop_seed, choice_seed = split_seed(seed)
        branches = [lambda crop=crop: crop(example, crop_seed) for crop in crops]
        return tf.switch_case(whole_number(choice_seed, 0, len(crops) - 1), branches)

    return augment


def random_pad_image(
    min_image_size: tuple[int, int] | None = None,
    max_image_size: tuple[int, int] | None = None,
    pad_color: Sequence[float] | None = None,
) -> Augmentation:
    """Return an augmentation that pads the image at random on all sides.

    Args:
        min_image_size: smallest (height, width) after padding; None: the image's.
        max_image_size: largest (height, width) after padding; None: twice the image's.
        pad_color: red, green, blue, 0..255; None: the image's mean.

    Returns:
        The augmentation.
    """
    color = checked_color("random_pad_image", pad_color)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        sides = tf.shape(example[IMAGE])[:2]
        smallest = sides if min_image_size is None else tf.maximum(sides, min_image_size)
        largest = 2 * sides if max_image_size is None else tf.constant(max_image_size)
        return pad_to_random_size(example, smallest, tf.maximum(largest, smallest), color, seed)

    return augment


def random_absolute_pad_image(
    max_height_padding: int = 1,
    max_width_padding: int = 1,
    pad_color: Sequence[float] | None = None,
) -> Augmentation:
    """Return an augmentation that pads the image at random by up to a number of pixels.

    Args:
        max_height_padding: maximum number of rows above and below together.
        max_width_padding: maximum number of columns at the left and right together.
        pad_color: red, green, blue, 0..255; None: the image's mean.

    Returns:
        The augmentation.
    """
    color = checked_color("random_absolute_pad_image", pad_color)
    if max_height_padding < 0 or max_width_padding < 0:
        raise ValueError(
            f"random_absolute_pad_image: max_height_padding is {max_height_padding} and "
            f"max_width_padding {max_width_padding}, expected 0 or more"
        )

    def augment(example: Example, seed: tf.Tensor) -> Example:
        sides = tf.shape(example[IMAGE])[:2]
        largest = sides + [max_height_padding, max_width_padding]
        return pad_to_random_size(example, sides, largest, color, seed)

    return augment


def random_crop_pad_image(
    options: CropOptions | None = None,
    min_padded_size_ratio: tuple[float, float] = (1.0, 1.0),
    max_padded_size_ratio: tuple[float, float] = (2.0, 2.0),
    pad_color: Sequence[float] | None = None,
) -> Augmentation:
    """Return an augmentation that crops at random and then pads at random.

    Args:
        options: options of the crop.
        min_padded_size_ratio: smallest (height, width) after padding, as fractions of the image
            before the crop; never smaller than the crop.
        max_padded_size_ratio: largest (height, width) after padding, likewise.
        pad_color: red, green, blue, 0..255; None: the mean of the crop.

    Returns:
        The augmentation.
    """
    crop = random_crop_image(options)
    color = checked_color("random_crop_pad_image", pad_color)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        before = tf.cast(tf.shape(example[IMAGE])[:2], tf.float32)
        crop_seed, pad_seed = split_seed(seed)
        cropped = crop(example, crop_seed)
        smallest, largest = (
            tf.maximum(tf.cast(before * ratio, tf.int32), tf.shape(cropped[IMAGE])[:2])
            for ratio in (min_padded_size_ratio, max_padded_size_ratio)
        )
        return pad_to_random_size(cropped, smallest, tf.maximum(largest, smallest), color, pad_seed)

    return augment


def random_square_crop_by_scale(
    max_border: int = 128, scale_min: float = 0.6, scale_max: float = 1.3, num_scales: int = 8
) -> Augmentation:
    """Return an augmentation that crops a square around a random point, black outside the image.

    The side of the square is the image's longer side times one of `num_scales` evenly spaced
    factors (Objects as Points, Zhou et al. 2019). Objects outside are dropped, the other boxes are
    clipped to the square.

    Args:
        max_border: minimum distance of the square's center from the image's borders, halved until
            it is at most half of each side.
        scale_min: smallest factor.
        scale_max: largest factor.
        num_scales: number of factors.

    Returns:
        The augmentation.
    """
    if not 0.0 < scale_min <= scale_max or num_scales < 1 or max_border < 1:
        raise ValueError(
            f"random_square_crop_by_scale: scale_min {scale_min}, scale_max {scale_max}, "
            f"num_scales {num_scales}, max_border {max_border}; expected "
            "0 < scale_min <= scale_max and positive whole numbers"
        )
    factors = tf.linspace(scale_min, scale_max, num_scales)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        sides = tf.shape(example[IMAGE])[:2]
        scale_seed, center_seed = split_seed(seed)
        factor = factors[whole_number(scale_seed, 0, num_scales - 1)]
        longest = tf.cast(tf.reduce_max(sides), tf.float32)
        side = tf.maximum(tf.cast(longest * tf.cast(factor, tf.float32), tf.int32), 1)
        borders = border_of_centers(max_border, sides)
        center = whole_number(center_seed, borders, sides - borders)
        return crop_rectangle(example, center - side // 2, tf.stack([side, side]))

    return augment


def border_of_centers(max_border: int, sides: tf.Tensor) -> tf.Tensor:
    """Return `max_border`, halved until it is at most half of each side."""
    ratio = 2.0 * max_border / tf.cast(sides, tf.float32)
    halvings = tf.maximum(tf.math.ceil(tf.math.log(ratio) / tf.math.log(2.0)), 0.0)
    halved = max_border // tf.cast(tf.minimum(2.0**halvings, float(max_border)), tf.int32)
    return tf.minimum(halved, sides // 2)


def _random_crop(example: Example, options: CropOptions, seed: tf.Tensor) -> Example:
    image, boxes = example[IMAGE], example[Groundtruth.boxes]
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.clip_by_value(boxes, 0.0, 1.0)[tf.newaxis],
        seed,
        min_object_covered=options.min_object_covered,
        aspect_ratio_range=options.aspect_ratio_range,
        area_range=options.area_range,
        max_attempts=_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    return crop_rectangle(
        example,
        begin[:2],
        tf.where(size[:2] < 0, tf.shape(image)[:2] - begin[:2], size[:2]),
        overlap_thresh=options.overlap_thresh,
        clip_boxes=options.clip_boxes,
    )


def crop_rectangle(
    example: Example,
    begin: tf.Tensor,
    size: tf.Tensor,
    *,
    overlap_thresh: float = 0.0,
    clip_boxes: bool = True,
) -> Example:
    """Crop the rectangle of `size` at `begin`, both (height, width) in pixels; pad with black.

    Objects outside it, or with less than the fraction `overlap_thresh` inside it, are dropped.
    """
    image, boxes = example[IMAGE], example[Groundtruth.boxes]
    sides = tf.shape(image)[:2]
    end = begin + size
    inside_begin, inside_end = tf.clip_by_value(begin, 0, sides), tf.clip_by_value(end, 0, sides)
    part = image[inside_begin[0] : inside_end[0], inside_begin[1] : inside_end[1]]
    margins = tf.stack([inside_begin - begin, end - inside_end], axis=1)
    part = tf.pad(part, tf.concat([margins, [[0, 0]]], axis=0))

    scale = tf.cast(tf.tile(sides, [2]), tf.float32)
    window = tf.cast(tf.concat([begin, end], axis=0), tf.float32) / scale
    covered = box_ops.area(box_ops.clip_to_window(boxes, window))
    fraction = tf.math.divide_no_nan(covered, box_ops.area(boxes))
    moved = box_ops.change_coordinate_frame(boxes, window)
    if clip_boxes:
        moved = tf.clip_by_value(moved, 0.0, 1.0)
    result = {**example, IMAGE: part, Groundtruth.boxes: moved}
    return keep_objects(result, (covered > 0.0) & (fraction >= overlap_thresh))


def pad_to_random_size(
    example: Example,
    smallest: tf.Tensor,
    largest: tf.Tensor,
    color: tf.Tensor | None,
    seed: tf.Tensor,
) -> Example:
    """Pad the image to a (height, width) between `smallest` and `largest`."""
    image, boxes = example[IMAGE], example[Groundtruth.boxes]
    sides = tf.shape(image)[:2]
    size_seed, place_seed = split_seed(seed)
    size = whole_number(size_seed, smallest, largest)
    begin = whole_number(place_seed, tf.zeros_like(sides), size - sides)
    pixels = tf.cast(image, tf.float32)
    background = tf.reduce_mean(pixels, axis=[0, 1]) if color is None else color
    margins = tf.concat([tf.stack([begin, size - sides - begin], axis=1), [[0, 0]]], axis=0)
    # The image minus the background is padded with zeros, then the background is added.
    canvas = tf.pad(pixels - background, margins) + background
    canvas = tf.cast(tf.clip_by_value(tf.round(canvas), 0.0, 255.0), image.dtype)
    old, new = (tf.cast(tf.tile(value, [2]), tf.float32) for value in (sides, size))
    offset = tf.cast(tf.tile(begin, [2]), tf.float32)
    moved = (boxes * old + offset) / new
    return {**example, IMAGE: tf.ensure_shape(canvas, [None, None, 3]), Groundtruth.boxes: moved}


def checked_color(step: str, pad_color: Sequence[float] | None) -> tf.Tensor | None:
    """Return a color [1] or [3]; None for none."""
    if not pad_color:
        return None
    if len(pad_color) not in (1, 3):
        raise ValueError(
            f"{step}: pad_color is {list(pad_color)}, expected red, green and blue, or one value"
        )
    return tf.constant(pad_color, tf.float32)
