"""`PreprocessingStep` -> augmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from object_detection_mtl.data import (
    augmentation,
    augmentation_colors,
    augmentation_crops,
    augmentation_layout,
)
from object_detection_mtl.protos import preprocessor_pb2


def _crop_options(step: Any) -> augmentation_crops.CropOptions:
    return augmentation_crops.CropOptions(
        min_object_covered=step.min_object_covered,
        aspect_ratio_range=(step.min_aspect_ratio, step.max_aspect_ratio),
        area_range=(step.min_area, step.max_area),
        overlap_thresh=step.overlap_thresh,
        clip_boxes=step.clip_boxes,
        random_coef=step.random_coef,
    )


def _pad_image(step: Any) -> augmentation.Augmentation:
    def size(which: str, height: float, width: float) -> tuple[int, int] | None:
        given = [step.HasField(f"{which}_image_{side}") for side in ("height", "width")]
        if any(given) and not all(given):
            raise ValueError(
                f"random_pad_image: give both {which}_image_height and {which}_image_width, or "
                "neither"
            )
        return (int(height), int(width)) if all(given) else None

    return augmentation_crops.random_pad_image(
        size("min", step.min_image_height, step.min_image_width),
        size("max", step.max_image_height, step.max_image_width),
        list(step.pad_color),
    )


def _crop_pad_image(step: Any) -> augmentation.Augmentation:
    def ratio(which: str, values: Sequence[float], default: float) -> tuple[float, float]:
        if len(values) not in (0, 2):
            raise ValueError(
                f"random_crop_pad_image: {which}_padded_size_ratio is {list(values)}, expected two "
                "values, for height and width"
            )
        return (values[0], values[1]) if values else (default, default)

    return augmentation_crops.random_crop_pad_image(
        _crop_options(step),
        ratio("min", step.min_padded_size_ratio, 1.0),
        ratio("max", step.max_padded_size_ratio, 2.0),
        list(step.pad_color),
    )


def _ssd_crop(step: Any) -> augmentation.Augmentation:
    operations = [_crop_options(operation) for operation in step.operations]
    return augmentation_crops.ssd_random_crop(operations or augmentation_crops.SSD_CROPS)


def _jitter_boxes(step: Any) -> augmentation.Augmentation:
    mode = preprocessor_pb2.RandomJitterBoxes.JitterMode.Name(step.jitter_mode)
    return augmentation_layout.random_jitter_boxes(step.ratio, mode)


# One translator per supported step; each takes the message of its step.
_TRANSLATORS: dict[str, Callable[[Any], augmentation.Augmentation]] = {
    "random_horizontal_flip": lambda step: augmentation.random_horizontal_flip(step.probability),
    "random_vertical_flip": lambda step: augmentation_layout.random_vertical_flip(step.probability),
    "random_rotation90": lambda step: augmentation_layout.random_rotation90(step.probability),
    "random_image_scale": lambda step: augmentation_layout.random_image_scale(
        step.min_scale_ratio, step.max_scale_ratio
    ),
    "random_jitter_boxes": _jitter_boxes,
    "random_crop_image": lambda step: augmentation_crops.random_crop_image(_crop_options(step)),
    "random_pad_image": _pad_image,
    "random_crop_pad_image": _crop_pad_image,
    "ssd_random_crop": _ssd_crop,
    "random_square_crop_by_scale": lambda step: augmentation_crops.random_square_crop_by_scale(
        step.max_border, step.scale_min, step.scale_max, step.num_scales
    ),
    "random_adjust_brightness": lambda step: augmentation_colors.random_adjust_brightness(
        step.max_delta
    ),
    "random_adjust_contrast": lambda step: augmentation_colors.random_adjust_contrast(
        step.min_delta, step.max_delta
    ),
    "random_adjust_hue": lambda step: augmentation_colors.random_adjust_hue(step.max_delta),
    "random_adjust_saturation": lambda step: augmentation_colors.random_adjust_saturation(
        step.min_delta, step.max_delta
    ),
    "random_distort_color": lambda step: augmentation_colors.random_distort_color(
        step.color_ordering
    ),
    "random_rgb_to_gray": lambda step: augmentation_colors.random_rgb_to_gray(step.probability),
    "random_black_patches": lambda step: augmentation_colors.random_black_patches(
        step.max_black_patches, step.probability, step.size_to_image_ratio
    ),
}


def supported_steps() -> tuple[str, ...]:
    """Return the names of the supported steps, as written in data_augmentation_options."""
    return tuple(_TRANSLATORS)


def build(step: preprocessor_pb2.PreprocessingStep) -> augmentation.Augmentation:
    """Build one step of train_config.data_augmentation_options.

    Raises:
        ValueError: the step is empty, not supported (the message lists those that are), or has a
            value out of range.
    """
    name = step.WhichOneof("preprocessing_step")
    if name is None:
        raise ValueError(
            "train_config.data_augmentation_options holds an empty step; expected one of "
            f"{', '.join(_TRANSLATORS)}"
        )
    if name not in _TRANSLATORS:
        raise ValueError(
            f"train_config.data_augmentation_options: {name} is not supported; supported are: "
            f"{', '.join(_TRANSLATORS)}. Remove the step, or use one of these"
        )
    try:
        return _TRANSLATORS[name](getattr(step, name))
    except ValueError as error:
        raise ValueError(f"train_config.data_augmentation_options: {error}") from error


def build_all(
    steps: Iterable[preprocessor_pb2.PreprocessingStep],
) -> tuple[augmentation.Augmentation, ...]:
    """Build the steps in their order."""
    return tuple(build(step) for step in steps)
