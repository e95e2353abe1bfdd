"""`PreprocessingStep` -> augmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from object_detection_mtl.data import (
    augmentation,
    augmentation_aspect,
    augmentation_colors,
    augmentation_crops,
    augmentation_labels,
    augmentation_layout,
    augmentation_policies,
    augmentation_sizes,
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


def _pair(step: str, which: str, values: Sequence[float], default: float) -> tuple[float, float]:
    """Return the (height, width) of `which`_size_ratio."""
    if len(values) not in (0, 2):
        raise ValueError(
            f"{step}: {which}_size_ratio is {list(values)}, expected two values, for height and "
            "width"
        )
    return (values[0], values[1]) if values else (default, default)


def _crop_pad_image(step: Any) -> augmentation.Augmentation:
    return augmentation_crops.random_crop_pad_image(
        _crop_options(step),
        _pair("random_crop_pad_image", "min_padded", step.min_padded_size_ratio, 1.0),
        _pair("random_crop_pad_image", "max_padded", step.max_padded_size_ratio, 2.0),
        list(step.pad_color),
    )


def _ssd_crop(step: Any) -> augmentation.Augmentation:
    operations = [_crop_options(operation) for operation in step.operations]
    return augmentation_crops.ssd_random_crop(operations or augmentation_crops.SSD_CROPS)


def _jitter_boxes(step: Any) -> augmentation.Augmentation:
    mode = preprocessor_pb2.RandomJitterBoxes.JitterMode.Name(step.jitter_mode)
    return augmentation_layout.random_jitter_boxes(step.ratio, mode)


def _ssd_crop_fixed(step: Any) -> augmentation.Augmentation:
    operations = [
        augmentation_crops.CropOptions(
            min_object_covered=kind.min_object_covered,
            area_range=(kind.min_area, kind.max_area),
            overlap_thresh=kind.overlap_thresh,
            clip_boxes=kind.clip_boxes,
            random_coef=kind.random_coef,
        )
        for kind in step.operations
    ]
    return augmentation_aspect.ssd_random_crop_fixed_aspect_ratio(
        operations or augmentation_crops.SSD_CROPS, step.aspect_ratio
    )


def _ssd_crop_pad(step: Any) -> augmentation.Augmentation:
    operations = [
        augmentation_aspect.CropAndPadding(
            _crop_options(kind),
            _pair("ssd_random_crop_pad", "min_padded", kind.min_padded_size_ratio, 1.0),
            _pair("ssd_random_crop_pad", "max_padded", kind.max_padded_size_ratio, 2.0),
            [kind.pad_color_r, kind.pad_color_g, kind.pad_color_b]
            if kind.HasField("pad_color_r")
            else None,
        )
        for kind in step.operations
    ]
    return augmentation_aspect.ssd_random_crop_pad(
        operations or augmentation_aspect.SSD_CROPS_AND_PADDING
    )


def _ssd_crop_pad_fixed(step: Any) -> augmentation.Augmentation:
    name = "ssd_random_crop_pad_fixed_aspect_ratio"
    return augmentation_aspect.ssd_random_crop_pad_fixed_aspect_ratio(
        [_crop_options(kind) for kind in step.operations] or augmentation_crops.SSD_CROPS,
        step.aspect_ratio,
        _pair(name, "min_padded", step.min_padded_size_ratio, 1.0),
        _pair(name, "max_padded", step.max_padded_size_ratio, 4.0),
    )


def _resize_image(step: Any) -> augmentation.Augmentation:
    method = preprocessor_pb2.ResizeImage.Method.Name(step.method)
    return augmentation_sizes.resize_image(step.new_height, step.new_width, method)


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
    "random_absolute_pad_image": lambda step: augmentation_crops.random_absolute_pad_image(
        step.max_height_padding or 1, step.max_width_padding or 1, list(step.pad_color)
    ),
    "random_crop_to_aspect_ratio": lambda step: augmentation_aspect.random_crop_to_aspect_ratio(
        step.aspect_ratio, step.overlap_thresh, step.clip_boxes
    ),
    "ssd_random_crop_pad": _ssd_crop_pad,
    "ssd_random_crop_fixed_aspect_ratio": _ssd_crop_fixed,
    "ssd_random_crop_pad_fixed_aspect_ratio": _ssd_crop_pad_fixed,
    "random_scale_crop_and_pad_to_square": lambda step: (
        augmentation_sizes.random_scale_crop_and_pad_to_square(
            step.output_size, step.scale_min, step.scale_max
        )
    ),
    "random_self_concat_image": lambda step: augmentation_sizes.random_self_concat_image(
        step.concat_vertical_probability, step.concat_horizontal_probability
    ),
    "resize_image": _resize_image,
    "random_resize_method": lambda step: augmentation_sizes.random_resize_method(
        int(step.target_height), int(step.target_width)
    ),
    "random_downscale_to_target_pixels": lambda step: (
        augmentation_sizes.random_downscale_to_target_pixels(
            step.random_coef, step.min_target_pixels, step.max_target_pixels
        )
    ),
    "random_pixel_value_scale": lambda step: augmentation_colors.random_pixel_value_scale(
        step.minval, step.maxval
    ),
    "rgb_to_gray": lambda step: augmentation_colors.rgb_to_gray(),
    "adjust_gamma": lambda step: augmentation_colors.adjust_gamma(step.gamma, step.gain),
    "random_jpeg_quality": lambda step: augmentation_colors.random_jpeg_quality(
        step.random_coef, step.min_jpeg_quality, step.max_jpeg_quality
    ),
    "autoaugment_image": lambda step: augmentation_policies.autoaugment_image(step.policy_name),
    "random_patch_gaussian": lambda step: augmentation_colors.random_patch_gaussian(
        step.random_coef,
        step.min_patch_size,
        step.max_patch_size,
        step.min_gaussian_stddev,
        step.max_gaussian_stddev,
    ),
    "drop_label_probabilistically": lambda step: augmentation_labels.drop_label_probabilistically(
        step.label, step.drop_probability
    ),
    "remap_labels": lambda step: augmentation_labels.remap_labels(
        step.original_labels, step.new_label
    ),
}
# Steps that would be wrong here -> why.
_REFUSED = {
    "normalize_image": "the model normalizes images itself, from values in 0..255",
    "subtract_channel_mean": "the model normalizes images itself, from values in 0..255",
    "scale_boxes_to_pixel_coordinates": "boxes are always normalized",
    "convert_class_logits_to_softmax": "every box has one class, without scores",
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
    if name in _REFUSED:
        raise ValueError(
            f"train_config.data_augmentation_options: {name} is not supported: {_REFUSED[name]}. "
            "Remove the step"
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
