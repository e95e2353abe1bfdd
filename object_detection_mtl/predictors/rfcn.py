"""Box predictor of R-FCN: score maps, pooled by position for each box.

(Dai et al. 2016, R-FCN: Object Detection via Region-based Fully Convolutional Networks,
arXiv:1605.06409, section 3.)

Shape letters: B batch, P boxes per image, h w C the output of stage 2 for the whole image,
I J bins of a box, K classes without background.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from object_detection_mtl.ops import position_sensitive
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams


class RfcnBoxPredictor(keras.layers.Layer):
    """[B, h, w, C] and boxes [B, P, 4] -> box encodings [B, P, K, 4], class logits [B, P, K + 1].

    A 1x1 convolution to `depth` channels, then one to a map per bin, class and number.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        hyperparams: LayerHyperparams | None = None,
        depth: int = 1024,
        num_bins: tuple[int, int] = (3, 3),
        crop_size: tuple[int, int] = (12, 12),
        predict_boxes: bool = True,
        trainable: bool = True,
        name: str = "SecondStageBoxPredictor",
    ) -> None:
        """Make the layer.

        Args:
            in_channels: C.
            num_classes: K.
            hyperparams: hyperparameters of all layers; the activation applies to the first.
            depth: channels of the first convolution.
            num_bins: I, J.
            crop_size: bilinear samples of a box; multiples of `num_bins`.
            predict_boxes: False omits the box maps (auxiliary heads).
            trainable: False freezes all layers.
            name: scope of the variables.
        """
        super().__init__(name=name)
        hyperparams = hyperparams or LayerHyperparams()
        position_sensitive.check_bins(crop_size, num_bins)
        self.num_classes = num_classes
        self.num_bins = num_bins
        self.crop_size = crop_size

        def convolution(channels: int, filters: int, name: str) -> keras.layers.Layer:
            layer = keras.layers.Conv2D(filters, 1, name=name, **hyperparams.kernel_options())
            layer.build((None, None, None, channels))
            return layer

        maps = num_bins[0] * num_bins[1]
        self.activation = hyperparams.activation
        self.reduce_depth = convolution(in_channels, depth, "reduce_depth")
        self.box_head = None
        if predict_boxes:
            self.box_head = convolution(depth, maps * num_classes * 4, "refined_locations")
        self.class_head = convolution(depth, maps * (num_classes + 1), "class_predictions")
        self.trainable = trainable  # after the layers, which Keras then freezes too
        self.built = True

    @property
    def linear_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers with weights."""
        layers = (self.reduce_depth, self.box_head, self.class_head)
        return tuple(layer for layer in layers if layer is not None)

    @property
    def bfloat16_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers that mixed precision computes in bfloat16: all."""
        return self.linear_layers

    def call(
        self,
        features: tf.Tensor,
        boxes: tf.Tensor,
        bin_weights: position_sensitive.BinWeights | None = None,
        training: bool | None = None,
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Return box encodings and class logits.

        Args:
            features: [B, h, w, C].
            boxes: [B, P, 4] relative to the map, 0..1.
            bin_weights: weights of the boxes; None computes them.
            training: has no effect.
        """
        hidden = self._hidden(features)
        weights = self._bin_weights(boxes, hidden) if bin_weights is None else bin_weights
        encodings = None
        if self.box_head is not None:
            maps = tf.cast(self.box_head(hidden), tf.float32)
            encodings = position_sensitive.pool(maps, weights)
            shape = [*tf.unstack(tf.shape(encodings)[:2]), self.num_classes, 4]
            encodings = tf.ensure_shape(
                tf.reshape(encodings, shape), [*boxes.shape[:2], self.num_classes, 4]
            )
        return encodings, self._pool_classes(self._class_maps(hidden), boxes, weights)

    def score_maps(self, features: tf.Tensor) -> tf.Tensor:
        """Return only the class maps [B, h, w, I * J * (K + 1)] of features [B, h, w, C]."""
        return self._class_maps(self._hidden(features))

    def pool(
        self,
        score_maps: tf.Tensor,
        boxes: tf.Tensor,
        bin_weights: position_sensitive.BinWeights | None = None,
    ) -> tf.Tensor:
        """Return class logits [B, P, K + 1] of boxes [B, P, 4] from `score_maps`."""
        if bin_weights is None:
            bin_weights = self._bin_weights(boxes, score_maps)
        return self._pool_classes(score_maps, boxes, bin_weights)

    def _class_maps(self, hidden: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.class_head(hidden), tf.float32)

    def _hidden(self, features: tf.Tensor) -> tf.Tensor:
        hidden = self.reduce_depth(features)
        return hidden if self.activation is None else self.activation(hidden)

    def _bin_weights(self, boxes: tf.Tensor, maps: tf.Tensor) -> position_sensitive.BinWeights:
        return position_sensitive.bin_weights(boxes, self.crop_size, self.num_bins, tf.shape(maps))

    def _pool_classes(
        self, score_maps: tf.Tensor, boxes: tf.Tensor, weights: position_sensitive.BinWeights
    ) -> tf.Tensor:
        logits = position_sensitive.pool(score_maps, weights)
        return tf.ensure_shape(logits, [*boxes.shape[:2], self.num_classes + 1])
