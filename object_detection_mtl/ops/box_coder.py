"""Faster R-CNN's box code (ty, tx, th, tw), relative to an anchor.

ty = (center_y - anchor center_y) / anchor height, th = log(height / anchor height); the same in x.
Each is multiplied by its scale factor so that the network's outputs have comparable sizes
(Ren et al., Faster R-CNN, 2015; factors 10, 10, 5, 5 are the OD API's).

Boxes, anchors and codes are [..., 4] with any leading dimensions, which broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Keeps the code of a box without height or width finite; encoding only, as in the OD API.
_EPSILON = 1e-8

DEFAULT_SCALE_FACTORS = (10.0, 10.0, 5.0, 5.0)


def encode(
    boxes: tf.Tensor,
    anchors: tf.Tensor,
    scale_factors: Sequence[float] | None = DEFAULT_SCALE_FACTORS,
) -> tf.Tensor:
    """Return codes of boxes relative to anchors."""
    y, x, height, width = _center_and_size(boxes)
    anchor_y, anchor_x, anchor_height, anchor_width = _center_and_size(anchors)
    height, width = height + _EPSILON, width + _EPSILON
    anchor_height, anchor_width = anchor_height + _EPSILON, anchor_width + _EPSILON
    codes = tf.stack(
        [
            (y - anchor_y) / anchor_height,
            (x - anchor_x) / anchor_width,
            tf.math.log(height / anchor_height),
            tf.math.log(width / anchor_width),
        ],
        axis=-1,
    )
    return codes * _factors(scale_factors)


def decode(
    codes: tf.Tensor,
    anchors: tf.Tensor,
    scale_factors: Sequence[float] | None = DEFAULT_SCALE_FACTORS,
) -> tf.Tensor:
    """Return the boxes of codes; the inverse of `encode`."""
    anchor_y, anchor_x, anchor_height, anchor_width = _center_and_size(anchors)
    ty, tx, th, tw = tf.unstack(codes / _factors(scale_factors), num=4, axis=-1)
    height = tf.exp(th) * anchor_height
    width = tf.exp(tw) * anchor_width
    y = ty * anchor_height + anchor_y
    x = tx * anchor_width + anchor_x
    return tf.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=-1)


def _factors(scale_factors: Sequence[float] | None) -> tf.Tensor:
    if scale_factors is None:
        return tf.ones([4])
    if len(scale_factors) != 4 or min(scale_factors) <= 0:
        raise ValueError(
            f"box_coder: scale_factors is {tuple(scale_factors)}, expected four numbers > 0 "
            "(y, x, height, width)."
        )
    return tf.constant(scale_factors, tf.float32)


def _center_and_size(boxes: tf.Tensor) -> tuple[tf.Tensor, ...]:
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    height, width = ymax - ymin, xmax - xmin
    return ymin + height / 2, xmin + width / 2, height, width
