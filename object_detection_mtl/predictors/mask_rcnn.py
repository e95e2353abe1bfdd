"""The box predictor of Faster R-CNN: two linear layers on the mean of a RoI's features.

(`mask_rcnn_box_predictor` in configs, after the paper whose box branch it is.)

Shape letters: N RoIs (B * P), h w C a RoI's features, K classes without background.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from object_detection_mtl.predictors.hyperparams import LayerHyperparams


class MaskRcnnBoxPredictor(keras.layers.Layer):
    """[N, h, w, C] -> box encodings [N, K or 1, 4] and class logits [N, K + 1]."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        hyperparams: LayerHyperparams,
        share_box_across_classes: bool = False,
        dropout_keep_probability: float = 1.0,
        predict_boxes: bool = True,
        trainable: bool = True,
        name: str = "SecondStageBoxPredictor",
    ) -> None:
        """Args:
        in_channels: C.
        num_classes: K.
        share_box_across_classes: one box per RoI instead of one per class.
        dropout_keep_probability: of the mean features, in training; 1 is no dropout.
        predict_boxes: False leaves the box layer out (auxiliary heads).
        """
        super().__init__(name=name, trainable=trainable)
        self.num_classes = num_classes
        self.num_box_classes = 1 if share_box_across_classes else num_classes
        self.dropout = None
        if dropout_keep_probability < 1.0:
            self.dropout = keras.layers.Dropout(1.0 - dropout_keep_probability, name="Dropout")
        self.box_head = None
        if predict_boxes:
            self.box_head = keras.layers.Dense(
                self.num_box_classes * 4,
                name="BoxEncodingPredictor",
                **hyperparams.kernel_options(),
            )
            self.box_head.build((None, in_channels))
        self.class_head = keras.layers.Dense(
            num_classes + 1, name="ClassPredictor", **hyperparams.kernel_options()
        )
        self.class_head.build((None, in_channels))
        self.built = True

    @property
    def linear_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers with weights."""
        return tuple(layer for layer in (self.box_head, self.class_head) if layer is not None)

    def call(
        self, features: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        pooled = tf.reduce_mean(features, axis=[1, 2])
        if self.dropout is not None:
            pooled = self.dropout(pooled, training=training)
        boxes = None
        if self.box_head is not None:
            boxes = tf.reshape(self.box_head(pooled), [-1, self.num_box_classes, 4])
        return boxes, self.class_head(pooled)
