"""A second-stage head on RoI crops: a copy of the backbone's stage 2, then a predictor.

Shape letters: N RoIs (B * P), h w C the crop, K classes without background.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class RoiHead(keras.layers.Layer):
    """Crops [N, h, w, C] -> (box encodings [N, K or 1, 4] or None, class logits [N, K + 1])."""

    def __init__(
        self, stage2: keras.Model, predictor: keras.layers.Layer, name: str = "roi_head"
    ) -> None:
        super().__init__(name=name)
        self.stage2 = stage2
        self.predictor = predictor
        self.built = True

    def call(
        self, crops: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        return self.predictor(self.stage2(crops, training=training), training=training)
