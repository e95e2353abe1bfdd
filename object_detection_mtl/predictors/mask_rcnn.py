"""Box predictor of Faster R-CNN: two linear layers on RoI features.

Between mean and linear layers there may be fully connected ones; with `spatial_size` given they
read the features of every cell instead of the mean, as in the first R-CNNs.

(`mask_rcnn_box_predictor` in configs, after the box branch of Mask R-CNN.)

Shape letters: N RoIs (B * P), h w C a RoI's features, K classes without background.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.predictors.predictor_layers import LayerHyperparams


def mean_of_cells(features: tf.Tensor) -> tf.Tensor:
    """Return the mean [N, C] of cells [N, h, w, C]."""
    return tf.reduce_mean(features, axis=[1, 2])


class MaskRcnnBoxPredictor(keras.layers.Layer):
    """[N, h, w, C] -> box encodings [N, K or 1, 4] and class logits [N, K + 1].

    A predictor that reads the mean of the cells also accepts `mean_of_cells` [N, C].
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        hyperparams: LayerHyperparams | None = None,
        spatial_size: tuple[int, int] | None = None,
        hidden_layers: int = 0,
        hidden_depth: int = 0,
        share_box_across_classes: bool = False,
        dropout_keep_probability: float = 1.0,
        predict_boxes: bool = True,
        trainable: bool = True,
        name: str = "SecondStageBoxPredictor",
    ) -> None:
        """Make the layer.

        Args:
            in_channels: C.
            num_classes: K.
            hyperparams: hyperparameters of all layers; the activation applies to the hidden ones.
            spatial_size: h and w where the features of all cells are read; None reads their mean.
            hidden_layers: number of fully connected layers in between.
            hidden_depth: width of these layers.
            share_box_across_classes: one box per RoI instead of one per class.
            dropout_keep_probability: keep probability of the inputs of the linear layers, in
                training; 1 is no dropout.
            predict_boxes: False omits the box layer (auxiliary heads).
            trainable: False freezes all layers.
            name: scope of the variables.
        """
        super().__init__(name=name)
        hyperparams = hyperparams or LayerHyperparams()
        self.num_classes = num_classes
        self.num_box_classes = 1 if share_box_across_classes else num_classes
        self.dropout = None
        if dropout_keep_probability < 1.0:
            self.dropout = keras.layers.Dropout(1.0 - dropout_keep_probability, name="Dropout")
        self.spatial_size = spatial_size
        cells = spatial_size[0] * spatial_size[1] if spatial_size else 1
        width = cells * in_channels

        def linear(inputs: int, units: int, name: str, activation: Any = None) -> Any:
            options = hyperparams.kernel_options()
            layer = keras.layers.Dense(units, activation=activation, name=name, **options)
            layer.build((None, inputs))
            return layer

        self.hidden = []
        for index in range(hidden_layers):
            name = f"fc{index + 1}"
            self.hidden.append(linear(width, hidden_depth, name, hyperparams.activation))
            width = hidden_depth
        self.box_head = None
        if predict_boxes:
            self.box_head = linear(width, self.num_box_classes * 4, "BoxEncodingPredictor")
        self.class_head = linear(width, num_classes + 1, "ClassPredictor")
        self.trainable = trainable  # after the layers, which Keras then freezes too
        self.built = True

    @property
    def reads_mean(self) -> bool:
        """Whether the predictor reads only the mean of the cells."""
        return self.spatial_size is None

    @property
    def linear_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers with weights."""
        layers = (*self.hidden, self.box_head, self.class_head)
        return tuple(layer for layer in layers if layer is not None)

    @property
    def bfloat16_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers that mixed precision computes in bfloat16: all except the outputs."""
        return tuple(self.hidden)

    def call(
        self, features: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Return box encodings and class logits."""
        if self.spatial_size is None:
            pooled = features if features.shape.rank == 2 else mean_of_cells(features)
        else:
            height, width = self.spatial_size
            pooled = tf.reshape(features, [-1, height * width * features.shape[-1]])
        for layer in self.hidden:
            pooled = layer(pooled)
        if self.dropout is not None:
            pooled = self.dropout(pooled, training=training)
        boxes = None
        if self.box_head is not None:
            boxes = tf.reshape(self.box_head(pooled), [-1, self.num_box_classes, 4])
        return boxes, self.class_head(pooled)
