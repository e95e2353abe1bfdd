"""Image resizers of the config: keep_aspect_ratio, fixed_shape, identity.

Shape letters: B batch, H W the image, h w the resized one, C channels.

Every resizer takes an image [H, W, C] or a batch of images of one size [B, H, W, C], of any numeric
dtype, and returns (resized float32, true_image_shape): the shape int32 [3] or [B, 3] without
padding. The range of the values is kept; the model normalizes them.

There are two sampling conventions. half_pixel_centers=False: output pixel i samples input
i * scale. TensorFlow 1's resizers do this, and so does the OD API on TensorFlow 2, so its
checkpoints expect it. True: pixel i covers [i, i + 1), as in `tf.image.resize` and most other
libraries; without it an image is shifted by up to half a pixel. AREA is the same in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

# (H, W): two integers if they are known, else an int32 tensor [2].
_Size: TypeAlias = tuple[int, ...] | tf.Tensor

# Names of the config's ResizeType -> methods of tf.image.
_METHODS = {
    "BILINEAR": "bilinear",
    "BICUBIC": "bicubic",
    "NEAREST_NEIGHBOR": "nearest",
    "AREA": "area",
}


def keep_aspect_ratio(
    image: tf.Tensor,
    *,
    min_dimension: int,
    max_dimension: int,
    pad_to_max_dimension: bool = False,
    method: str = "BILINEAR",
    half_pixel_centers: bool,
    per_channel_pad_value: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize so that the shorter side is min_dimension and the longer at most max_dimension.

    Args:
        image: [H, W, C] or [B, H, W, C].
        min_dimension: length of the shorter side, unless the longer would exceed max_dimension.
        max_dimension: length of the longer side in that case.
        pad_to_max_dimension: pad below and to the right to [max_dimension, max_dimension].
        method: a ResizeType of the config.
        half_pixel_centers: the sampling convention, see above.
        per_channel_pad_value: one number per channel; None: 0.

    Returns:
        The resized image and its true shape.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 1 <= min_dimension <= max_dimension:
        raise ValueError(
            f"keep_aspect_ratio resizer: min_dimension is {min_dimension} and max_dimension "
            f"{max_dimension}, expected 1 <= min_dimension <= max_dimension."
        )
    image = tf.convert_to_tensor(image)
    size = size_within(_spatial_size(image), min_dimension, max_dimension)
    resized = _resize(image, size, method, half_pixel_centers)
    true_shape = _true_shape(resized)
    if pad_to_max_dimension:
        resized = _pad(resized, max_dimension, per_channel_pad_value)
    return resized, true_shape


def short_side_600(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize as the VOC and COCO sample configs do; see `keep_aspect_ratio`."""
    return keep_aspect_ratio(image, min_dimension=600, max_dimension=1024, half_pixel_centers=True)


def fixed_shape(
    image: tf.Tensor,
    *,
    height: int,
    width: int,
    method: str = "BILINEAR",
    half_pixel_centers: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize to [height, width]; the aspect ratio may change. Returns as `keep_aspect_ratio`."""
    if height < 1 or width < 1:
        raise ValueError(
            f"fixed_shape resizer: height is {height} and width {width}, expected both >= 1."
        )
    resized = _resize(image, (height, width), method, half_pixel_centers)
    return resized, _true_shape(resized)


def identity(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the image unchanged, as float32, and its shape."""
    image = tf.cast(image, tf.float32)
    return image, _true_shape(image)


def _spatial_size(image: tf.Tensor) -> _Size:
    """Return the height and width of an image [..., H, W, C]."""
    static = image.shape[-3:-1]
    return tuple(static) if static.is_fully_defined() else tf.shape(image)[-3:-1]


def size_within(size: _Size, min_dimension: int, max_dimension: int) -> _Size:
    """Return the size (h, w) of a resized image, for `keep_aspect_ratio`.

    The arithmetic is float32 and rounds halves to even, as in the OD API; a different order of
    operations changes some sizes by one pixel. Every side is at least one pixel.

    Args:
        size: (H, W), integers or a tensor.
        min_dimension: see `keep_aspect_ratio`.
        max_dimension: see `keep_aspect_ratio`.

    Returns:
        (h, w) in the same form.
    """
    if isinstance(size, tuple):
        floats = np.asarray(size, np.float32)
        by_min = np.round(floats * (np.float32(min_dimension) / floats.min()))
        by_max = np.round(floats * (np.float32(max_dimension) / floats.max()))
        chosen = by_max if by_min.max() > max_dimension else by_min
        return tuple(int(side) for side in np.maximum(chosen, 1))
    floats = tf.cast(size, tf.float32)
    # Both divisions are one division of vectors: OpenVINO's CPU plugin fuses a scalar division with
    # the choice below and exchanges dividend and divisor.
    sides = tf.stack([tf.reduce_min(floats), tf.reduce_max(floats)])
    ratios = tf.constant([min_dimension, max_dimension], tf.float32) / sides
    by_min, by_max = tf.unstack(tf.round(floats * ratios[:, tf.newaxis]))
    chosen = tf.where(tf.reduce_max(by_min) > max_dimension, by_max, by_min)
    return tf.cast(tf.maximum(chosen, 1.0), tf.int32)


def _resize(image: tf.Tensor, size: _Size, method: str, half_pixel_centers: bool) -> tf.Tensor:
    if method not in _METHODS:
        raise ValueError(f"resize: method is {method!r}, expected one of {', '.join(_METHODS)}.")
    image = tf.cast(image, tf.float32)
    resize = tf.image.resize if half_pixel_centers else tf.compat.v1.image.resize
    return resize(image, size, method=_METHODS[method])


def _pad(image: tf.Tensor, size: int, pad_values: Sequence[float] | None) -> tf.Tensor:
    """Pad [..., h, w, C] with pad_values below and to the right, to [..., size, size, C]."""
    channels = image.shape[-1]
    if pad_values is not None and len(pad_values) != channels:
        raise ValueError(
            f"keep_aspect_ratio resizer: per_channel_pad_value is {tuple(pad_values)}, expected "
            f"one number for each of the {channels} channels."
        )
    inner = _spatial_size(image)
    leading = [[0, 0]] * (image.shape.rank - 3)
    paddings = [*leading, [0, size - inner[0]], [0, size - inner[1]], [0, 0]]
    padded = tf.pad(image, paddings)
    if pad_values is not None and any(pad_values):
        is_image = tf.pad(tf.ones_like(image[..., :1], tf.bool), paddings)
        padded = tf.where(is_image, padded, tf.constant(pad_values, tf.float32))
    return tf.ensure_shape(padded, [*image.shape[:-3], size, size, channels])


def _true_shape(image: tf.Tensor) -> tf.Tensor:
    """Return int32 [3] (h, w, C) of one image, or [B, 3] of a batch."""
    shape = tf.shape(image)
    if image.shape.rank == 3:
        return shape
    return tf.repeat(shape[tf.newaxis, 1:], shape[0], axis=0)
