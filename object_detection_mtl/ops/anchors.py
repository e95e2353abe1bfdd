"""Anchors on a regular grid.

Shape letters: A anchors = feature height x feature width x anchors per location.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class GridAnchorGenerator:
    """Anchors of every scale and aspect ratio, centered on a regular grid of one feature map.

    scales: factors of the base size. aspect_ratios: width / height, area kept.
    base_anchor_size: (height, width) in pixels. stride and offset: (y, x) in pixels; the center of
    cell (i, j) is offset + stride * (i, j).
    """

    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    base_anchor_size: tuple[float, float] = (256.0, 256.0)
    stride: tuple[float, float] = (16.0, 16.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        for name in ("scales", "aspect_ratios", "base_anchor_size", "stride", "offset"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        for name in ("scales", "aspect_ratios", "base_anchor_size", "stride"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise ValueError(
                    f"GridAnchorGenerator: {name} is {values}, expected one or more numbers > 0."
                )
        for name in ("base_anchor_size", "stride", "offset"):
            if len(getattr(self, name)) != 2:
                raise ValueError(
                    f"GridAnchorGenerator: {name} is {getattr(self, name)}, expected (y, x)."
                )

    @property
    def num_anchors_per_location(self) -> int:
        """Number of anchors of each cell of the feature map."""
        return len(self.scales) * len(self.aspect_ratios)

    def generate(
        self, feature_height: tf.Tensor | int, feature_width: tf.Tensor | int
    ) -> tf.Tensor:
        """Return anchors, float32 [A, 4] in absolute pixels of the feature map's image.

        Order: rows of the grid, then columns, then aspect ratios, then scales. This is the order
        of the channels of the box predictor, so it may never change. Anchors are not clipped.
        """
        half_sizes = tf.constant(self._sizes() / 2)  # [a, 2]
        centers = _grid(feature_height, feature_width, self.stride, self.offset)  # [h, w, 2]
        centers = centers[:, :, tf.newaxis, :]
        anchors = tf.concat([centers - half_sizes, centers + half_sizes], axis=-1)
        return tf.reshape(anchors, [-1, 4])

    def _sizes(self) -> np.ndarray:
        """Return (height, width) of the anchors of one location, float32 [a, 2]."""
        ratio_roots = np.sqrt(
            np.repeat(np.asarray(self.aspect_ratios, np.float32), len(self.scales))
        )
        scales = np.tile(np.asarray(self.scales, np.float32), len(self.aspect_ratios))
        base_height, base_width = np.asarray(self.base_anchor_size, np.float32)
        return np.stack(
            [scales / ratio_roots * base_height, scales * ratio_roots * base_width], axis=-1
        )


def _grid(
    height: tf.Tensor | int,
    width: tf.Tensor | int,
    stride: tuple[float, ...],
    offset: tuple[float, ...],
) -> tf.Tensor:
    """Return (y, x) of the center of each cell, float32 [height, width, 2]."""
    y = tf.cast(tf.range(height), tf.float32) * stride[0] + offset[0]
    x = tf.cast(tf.range(width), tf.float32) * stride[1] + offset[1]
    return tf.stack(tf.meshgrid(y, x, indexing="ij"), axis=-1)
