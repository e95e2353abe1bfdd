"""Predictions of an auxiliary task next to their labels, in a form that can be drawn.

Shape letters: B batch, R padded regions, S side of a map, K classes without background.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf


class RegionShares(NamedTuple):
    """Shares of the classes, background first, in regions of the image."""

    regions: tf.Tensor  # [B, R, 4], normalised to the true image
    exists: tf.Tensor  # [B, R] bool
    labels: tf.Tensor  # [B, R, K + 1]
    predicted: tf.Tensor  # [B, R, K + 1]; all zero where nothing was predicted


class Maps(NamedTuple):
    """Numbers from 0 to 1 that cover the true image."""

    labels: tf.Tensor  # [B, S, S]
    predicted: tf.Tensor  # [B, S, S]


Comparison: TypeAlias = RegionShares | Maps
