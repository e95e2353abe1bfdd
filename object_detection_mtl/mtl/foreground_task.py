"""The foreground mask ("edgemask"): one convolution on the shared feature map.

Shape letters: B batch, fh fw C the feature map, S side of the mask in cells.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions
from object_detection_mtl.mtl import auxiliary_metrics
from object_detection_mtl.mtl.auxiliary_task import Comparison, Context, Maps, Tensors
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams, linear_names


class ForegroundTask(keras.layers.Layer):
    """Two channels with a tanh, background and foreground, read as logits."""

    labels = (Groundtruth.edgemask,)
    optional_labels = ()
    outputs = (Predictions.edgemask,)
    evidence_width = 0

    def __init__(
        self,
        *,
        in_channels: int,
        kernel_size: int = 3,
        hyperparams: LayerHyperparams | None = None,
        loss_weight: float = 1.0,
        weighted: bool = True,
        stop_gradient: bool = False,
        trainable: bool = True,
        name: str = "EdgeMaskPredictor",
    ) -> None:
        """Args:
        in_channels: C.
        kernel_size: side of the convolution, in cells.
        hyperparams: of the convolution.
        loss_weight: of the mask's loss.
        weighted: weigh pixels by the label's weight map, which makes small objects count as
            much as large ones; else all pixels alike.
        stop_gradient: the loss does not reach the shared features.
        """
        super().__init__(name=name)
        hyperparams = hyperparams or LayerHyperparams()
        self.loss_weights = {Losses.edgemask: loss_weight}
        self.weighted = weighted
        self.stop_gradient = stop_gradient
        # The authors' graph calls the convolution so.
        self.conv = keras.layers.Conv2D(
            2,
            kernel_size,
            padding="same",
            activation="tanh",
            name="BoxEncodingPredictor",
            **hyperparams.kernel_options(),
        )
        self.conv.build((None, None, None, in_channels))
        self.trainable = trainable  # after the layers, which Keras then freezes too
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Logits [B, fh, fw, 2], over the padded inputs."""
        features = context.features
        if self.stop_gradient:
            features = tf.stop_gradient(features)
        return {Predictions.edgemask: self.conv(features)}

    def evidence(self, predictions: Tensors, context: Context) -> tf.Tensor:
        raise NotImplementedError("the foreground mask has no logits per proposal")

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Cross-entropy per cell of the mask, times its weight; the mean over cells and images."""
        label = groundtruth[Groundtruth.edgemask]  # [B, 2, S, S]
        mask, weights = label[:, 0], label[:, 1]
        logits = mask_logits(predictions, label.shape[-1])
        losses = tf.nn.softmax_cross_entropy_with_logits(
            tf.stack([1.0 - mask, mask], axis=-1), logits
        )
        if self.weighted:
            losses *= weights
        return {Losses.edgemask: tf.reduce_mean(losses)}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        label = groundtruth[Groundtruth.edgemask]
        logits, mask = mask_logits(predictions, label.shape[-1]), label[:, 0]
        return {
            Metrics.edgemask_ap: auxiliary_metrics.mask_accuracy(logits, mask),
            Metrics.foreground_iou: auxiliary_metrics.mask_iou(logits, mask),
        }

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        label = groundtruth[Groundtruth.edgemask]
        logits = mask_logits(predictions, label.shape[-1])
        return {"foreground": Maps(labels=label[:, 0], predicted=tf.nn.softmax(logits)[..., 1])}

    def tf1_variables(self) -> dict[str, keras.Variable]:
        return linear_names(self.name, (self.conv,))


def mask_logits(predictions: Tensors, size: int) -> tf.Tensor:
    """The predicted map, as far as the true image goes, resized to [B, size, size, 2].

    Bilinear as TensorFlow 1 resized: cell i of the result lies at i * fh / size of the map,
    without an offset of half a cell.
    """
    logits = predictions[Predictions.edgemask]
    rows, columns = _true_cells(
        tf.shape(logits)[1:3],
        predictions[Predictions.image_shape][1:3],
        predictions[Predictions.true_image_shapes][:, :2],
    )
    by_row = tf.einsum("bsh,bhwc->bswc", _resize_weights(rows, tf.shape(logits)[1], size), logits)
    return tf.einsum("btw,bswc->bstc", _resize_weights(columns, tf.shape(logits)[2], size), by_row)


def _true_cells(
    map_sides: tf.Tensor, input_sides: tf.Tensor, true_sides: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows [B] and columns [B] of the map that the network makes of the image without padding.

    Args:
        map_sides: [2], of the map of the padded inputs.
        input_sides: [2], true_sides: [B, 2], pixels.
    """
    stride = -(-input_sides // map_sides)
    cells = tf.minimum(-(-true_sides // stride), map_sides)
    return cells[:, 0], cells[:, 1]


def _resize_weights(cells: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """[B, size, num_cells]: how much each cell counts in a linear resize of the first cells [B]."""
    last = tf.cast(cells - 1, tf.float32)[:, tf.newaxis]
    step = tf.cast(cells, tf.float32)[:, tf.newaxis] / size
    positions = tf.minimum(tf.range(size, dtype=tf.float32) * step, last)
    distance = positions[..., tf.newaxis] - tf.range(tf.cast(num_cells, tf.float32))
    return tf.nn.relu(1.0 - tf.abs(distance))
