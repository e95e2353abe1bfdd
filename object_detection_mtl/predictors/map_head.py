"""A second-stage head on the whole feature map: a copy of the backbone's stage 2, then a predictor.

Shape letters: B batch, P proposals, fh fw C the shared feature map, K classes without background.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class MapHead(keras.layers.Layer):
    """[B, fh, fw, C] and boxes [B, P, 4] -> box encodings [B, P, K, 4], class logits [B, P, K+1].

    The boxes are relative to the map, so stage 2 may halve it.
    """

    def __init__(
        self, stage2: keras.Model, predictor: keras.layers.Layer, name: str = "map_head"
    ) -> None:
        super().__init__(name=name)
        self.stage2 = stage2
        self.predictor = predictor
        self.built = True

    def call(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        return self.predictor(self.stage2(features, training=training), boxes, training=training)
