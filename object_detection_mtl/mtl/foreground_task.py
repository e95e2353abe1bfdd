"""Foreground task ("edgemask"): a mask of the objects from the shared feature map.

Shape letters: B batch, fh fw C the feature map, S side of the mask in cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions, TfExample
from object_detection_mtl.mtl import auxiliary_metrics, labels, mask_grids
from object_detection_mtl.mtl.auxiliary_task import Comparison, Context, MapComparison, Tensors
from object_detection_mtl.mtl.labels import stored_labels
from object_detection_mtl.mtl.task_labels import LabelInputs, LabelSpec, StoredInputs, TaskLabels
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams, linear_names

BALANCES = ("AUTHORS", "EQUAL")
LOSS_GRIDS = ("LABEL", "FEATURE_MAP")


@dataclass(frozen=True)
class ForegroundLabels(TaskLabels):
    """One foreground mask per image, with the weights of its cells.

    Attributes:
        mask_size: S.
    """

    mask_size: int = 64

    stored = {
        TfExample.edgemask: tf.float32,
        TfExample.edgemask_height: tf.int64,
        TfExample.edgemask_width: tf.int64,
    }

    def specs(self, num_classes: int) -> dict[str, LabelSpec]:
        """Return the spec of mask and weights [2, S, S]."""
        return {Groundtruth.edgemask: LabelSpec((2, self.mask_size, self.mask_size))}

    def make(self, inputs: LabelInputs) -> Tensors:
        """Return mask and weights."""
        mask = labels.foreground_mask(inputs.boxes, self.mask_size, valid=inputs.valid)
        return {Groundtruth.edgemask: mask}

    def read(self, inputs: StoredInputs) -> Tensors:
        """Return the mask and weights of a record."""
        mask = stored_labels.mask_and_weights(inputs.features, self.mask_size, inputs.image_id)
        return {Groundtruth.edgemask: mask}

    def flip_left_right(self, labels: Tensors) -> Tensors:
        """Return the mirrored mask and weights."""
        key = Groundtruth.edgemask
        return {key: tf.reverse(labels[key], axis=[-1])}


class ForegroundTask(keras.layers.Layer):
    """One convolution with two channels, background and foreground logits."""

    labels = (Groundtruth.edgemask,)
    optional_labels = ()
    outputs = (Predictions.edgemask,)
    auxiliary_width = 0

    def __init__(
        self,
        *,
        in_channels: int,
        kernel_size: int = 3,
        hyperparams: LayerHyperparams | None = None,
        loss_weight: float = 1.0,
        weighted: bool = True,
        balance: str = "AUTHORS",
        bounded: bool = True,
        loss_grid: str = "LABEL",
        stop_gradient: bool = False,
        trainable: bool = True,
        name: str = "EdgeMaskPredictor",
    ) -> None:
        """Initialize the task.

        Args:
            in_channels: C.
            kernel_size: side of the convolution, in cells.
            hyperparams: hyperparameters of the convolution.
            loss_weight: weight of the mask's loss.
            weighted: multiply the cells' losses by the label's weights, which make small objects
                count as much as large ones; otherwise all cells count the same.
            balance: "AUTHORS" takes the weights as they are. "EQUAL" scales them in each image so
                that foreground and background weigh the same; an image with one side alone gives
                all its weight to that side.
            bounded: end the convolution with a tanh, as the authors do, so that the difference of
                the two logits is at most 2.
            loss_grid: "LABEL" resizes the logits to the label's cells. "FEATURE_MAP" compares each
                cell of the feature map with the part of the label that it covers.
            stop_gradient: the loss does not reach the shared features.
            trainable: whether the convolution is trained.
            name: name of the layer.

        Raises:
            ValueError: an unknown balance or loss grid.
        """
        super().__init__(name=name)
        for what, value, known in (
            ("balance", balance, BALANCES),
            ("loss_grid", loss_grid, LOSS_GRIDS),
        ):
            if value not in known:
                raise ValueError(f"{what} is {value!r}; expected one of {', '.join(known)}")
        hyperparams = hyperparams or LayerHyperparams()
        self.loss_weights = {Losses.edgemask: loss_weight}
        self.weighted = weighted
        self.balance = balance
        self.loss_grid = loss_grid
        self.stop_gradient = stop_gradient
        # The convolution has this name in the authors' graph.
        self.conv = keras.layers.Conv2D(
            2,
            kernel_size,
            padding="same",
            activation="tanh" if bounded else None,
            name="BoxEncodingPredictor",
            **hyperparams.kernel_options(),
        )
        self.conv.build((None, None, None, in_channels))
        self.trainable = trainable  # after the layers, which Keras then freezes too
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Return logits [B, fh, fw, 2], over the padded inputs."""
        features = context.features
        if self.stop_gradient:
            features = tf.stop_gradient(features)
        return {Predictions.edgemask: self.conv(features)}

    def auxiliary_logits(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """Raise an error: the task has no logits per proposal (`auxiliary_width` is 0)."""
        raise NotImplementedError("the foreground mask has no logits per proposal")

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return the weighted cross-entropy per cell of the label: the mean over cells and images.

        See `AuxiliaryTask.loss` for the arguments.
        """
        label = groundtruth[Groundtruth.edgemask]  # [B, 2, S, S]
        size = label.shape[-1]
        mask = label[:, 0]
        weights = label[:, 1] if self.weighted else tf.ones_like(mask)
        if self.balance == "EQUAL":
            weights = mask_grids.balanced_weights(mask, weights)
        if self.loss_grid == "LABEL":
            logits = self._mask_logits(predictions, size)
        else:
            logits = predictions[Predictions.edgemask]
            rows, columns = mask_grids.map_extents(predictions)
            mask, weights = mask_grids.mask_of_map(
                mask,
                weights,
                mask_grids.overlaps_of_cells(rows, tf.shape(logits)[1], size),
                mask_grids.overlaps_of_cells(columns, tf.shape(logits)[2], size),
            )
        losses = tf.nn.softmax_cross_entropy_with_logits(
            tf.stack([1.0 - mask, mask], axis=-1), logits
        )
        total = tf.reduce_sum(losses * weights, axis=[1, 2])
        return {Losses.edgemask: tf.reduce_mean(total) / size**2}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return accuracy and IoU, and the IoU of a mask that is all foreground, and of none.

        A useful head is better than both constant masks.
        """
        label = groundtruth[Groundtruth.edgemask]
        logits, mask = self._mask_logits(predictions, label.shape[-1]), label[:, 0]
        constant = tf.constant([[[[0.0, 1.0]]]])
        return {
            Metrics.edgemask_ap: auxiliary_metrics.mask_accuracy(logits, mask),
            Metrics.foreground_iou: auxiliary_metrics.mask_iou(logits, mask),
            Metrics.foreground_iou_of_all: auxiliary_metrics.mask_iou(constant, mask),
            Metrics.foreground_iou_of_none: auxiliary_metrics.mask_iou(-constant, mask),
        }

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Return the mask, labeled and predicted."""
        label = groundtruth[Groundtruth.edgemask]
        predicted = tf.nn.softmax(self._mask_logits(predictions, label.shape[-1]))[..., 1]
        return {"foreground": MapComparison(labels=label[:, 0], predicted=predicted)}

    def _mask_logits(self, predictions: Tensors, size: int) -> tf.Tensor:
        """Return logits [B, size, size, 2] over the true image."""
        if self.loss_grid == "LABEL":
            return mask_grids.mask_logits(predictions, size)
        logits = predictions[Predictions.edgemask]
        rows, columns = mask_grids.map_extents(predictions)
        return mask_grids.resize_map(
            logits,
            mask_grids.centered_resize_weights(rows, tf.shape(logits)[1], size),
            mask_grids.centered_resize_weights(columns, tf.shape(logits)[2], size),
        )

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        return linear_names(self.name, (self.conv,))
