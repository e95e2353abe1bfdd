"""`ImageResizer` -> function: images -> (resized images, true shapes)."""

from __future__ import annotations

import functools

from object_detection_mtl.data import image_resizing
from object_detection_mtl.models.two_stage import ImageResizer
from object_detection_mtl.protos import image_resizer_pb2


def build(config: image_resizer_pb2.ImageResizer) -> ImageResizer:
    """Return the resizer that the config names.

    Raises:
        ValueError: none is named, or one that is not supported.
    """
    kind = config.WhichOneof("image_resizer_oneof")
    if kind == "keep_aspect_ratio_resizer":
        keep = config.keep_aspect_ratio_resizer
        _refuse_grayscale(keep.convert_to_grayscale)
        return functools.partial(
            image_resizing.keep_aspect_ratio,
            min_dimension=keep.min_dimension,
            max_dimension=keep.max_dimension,
            pad_to_max_dimension=keep.pad_to_max_dimension,
            method=image_resizer_pb2.ResizeType.Name(keep.resize_method),
            half_pixel_centers=keep.half_pixel_centers,
            per_channel_pad_value=tuple(keep.per_channel_pad_value) or None,
        )
    if kind == "fixed_shape_resizer":
        fixed = config.fixed_shape_resizer
        _refuse_grayscale(fixed.convert_to_grayscale)
        return functools.partial(
            image_resizing.fixed_shape,
            height=fixed.height,
            width=fixed.width,
            method=image_resizer_pb2.ResizeType.Name(fixed.resize_method),
            half_pixel_centers=fixed.half_pixel_centers,
        )
    if kind == "identity_resizer":
        return image_resizing.identity
    raise ValueError(
        f"image_resizer {{ {kind or ''} }} is not supported; use keep_aspect_ratio_resizer, "
        "fixed_shape_resizer or identity_resizer"
    )


def _refuse_grayscale(convert: bool) -> None:
    if convert:
        raise ValueError(
            "image_resizer: convert_to_grayscale: true is not supported: the backbones take "
            "three channels. Remove it; grayscale images are read as three equal channels."
        )
