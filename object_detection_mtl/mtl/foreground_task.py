"""Foreground task ("edgemask"): a mask of the objects from the shared feature map.

Shape letters: B batch, fh fw C the feature map, S side of the mask in cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions, TfExample
from object_detection_mtl.mtl import auxiliary_metrics, labels
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
            hyperparams: of the convolution.
            loss_weight: of the mask's loss.
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
            name: of the layer.

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
            weights = balanced_weights(mask, weights)
        if self.loss_grid == "LABEL":
            logits = self._mask_logits(predictions, size)
        else:
            logits = predictions[Predictions.edgemask]
            rows, columns = _extents(predictions)
            mask, weights = mask_of_map(
                mask,
                weights,
                overlaps_of_cells(rows, tf.shape(logits)[1], size),
                overlaps_of_cells(columns, tf.shape(logits)[2], size),
            )
        losses = tf.nn.softmax_cross_entropy_with_logits(
            tf.stack([1.0 - mask, mask], axis=-1), logits
        )
        total = tf.reduce_sum(losses * weights, axis=[1, 2])
        return {Losses.edgemask: tf.reduce_mean(total) / size**2}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return accuracy and IoU, and the IoU of a mask that is all foreground, and of none.

        A head that is worth its cost beats both of the constant masks.
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
            return mask_logits(predictions, size)
        logits = predictions[Predictions.edgemask]
        rows, columns = _extents(predictions)
        return _resize(
            logits,
            _centered_resize_weights(rows, tf.shape(logits)[1], size),
            _centered_resize_weights(columns, tf.shape(logits)[2], size),
        )

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        return linear_names(self.name, (self.conv,))


def balanced_weights(mask: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return weights [B, S, S] of mean 1 whose foreground and background halves are equal.

    Within each side the weights keep their proportions. An image with one side alone gives all
    weight to that side.

    Args:
        mask: [B, S, S] of 0 and 1.
        weights: [B, S, S], positive.
    """
    cells = tf.cast(tf.size(mask[0]), weights.dtype)
    sides = [weights * mask, weights * (1.0 - mask)]
    totals = [tf.reduce_sum(side, axis=[1, 2], keepdims=True) for side in sides]
    present = [tf.cast(total > 0.0, weights.dtype) for total in totals]
    of_each = cells / tf.maximum(present[0] + present[1], 1.0)
    return tf.add_n(
        [
            tf.math.divide_no_nan(side, total) * of_each
            for side, total in zip(sides, totals, strict=True)
        ]
    )


def mask_of_map(
    mask: tf.Tensor, weights: tf.Tensor, by_row: tf.Tensor, by_column: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return a label's mask and weights on the cells of a feature map, each [B, fh, fw].

    Every cell of the label shares its weight between the cells of the map that cover it; a cell of
    the map gets the sum of the weights and the weighted mean of the mask. So the loss counts every
    cell of the label as it does on the label's own grid.

    Args:
        mask: [B, S, S] of 0 and 1.
        weights: [B, S, S].
        by_row: [B, fh, S], the part of each row of the label in each row of the map.
        by_column: [B, fw, S], the same of columns.
    """

    def collect(values: tf.Tensor) -> tf.Tensor:
        return tf.einsum("bhs,bst,bwt->bhw", by_row, values, by_column)

    total = collect(weights)
    return tf.math.divide_no_nan(collect(weights * mask), total), total


def overlaps_of_cells(extent: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return the part of each cell of a label in each cell of a map along one axis: [B, cells, S].

    Args:
        extent: float32 [B], how many cells of the map the label covers.
        num_cells: of the map.
        size: S.
    """
    step = (extent / size)[:, tf.newaxis, tf.newaxis]
    starts = tf.range(size, dtype=tf.float32) * step  # [B, 1, S]
    cells = tf.range(tf.cast(num_cells, tf.float32))[:, tf.newaxis]
    shared = tf.minimum(cells + 1.0, starts + step) - tf.maximum(cells, starts)
    return tf.nn.relu(shared) / step


def mask_logits(predictions: Tensors, size: int) -> tf.Tensor:
    """Return the predicted map of the true image, resized to [B, size, size, 2].

    Bilinear as TensorFlow 1 resized: cell i of the result lies at i * fh / size of the map,
    without an offset of half a cell.

    Args:
        predictions: all of the detector's.
        size: S of the label.
    """
    logits = predictions[Predictions.edgemask]
    rows, columns = _true_cells(
        tf.shape(logits)[1:3],
        predictions[Predictions.image_shape][1:3],
        predictions[Predictions.true_image_shapes][:, :2],
    )
    return _resize(
        logits,
        _resize_weights(rows, tf.shape(logits)[1], size),
        _resize_weights(columns, tf.shape(logits)[2], size),
    )


def _resize(logits: tf.Tensor, by_row: tf.Tensor, by_column: tf.Tensor) -> tf.Tensor:
    """Return logits [B, fh, fw, 2] resized with weights [B, S, fh] and [B, S, fw]."""
    resized = tf.einsum("bsh,bhwc->bswc", by_row, logits)
    return tf.einsum("btw,bswc->bstc", by_column, resized)


def _true_cells(
    map_sides: tf.Tensor, input_sides: tf.Tensor, true_sides: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the rows [B] and columns [B] of the map that an image without padding would have.

    Args:
        map_sides: [2], of the map of the padded inputs.
        input_sides: [2], in pixels.
        true_sides: [B, 2], in pixels.
    """
    stride = -(-input_sides // map_sides)
    cells = tf.minimum(-(-true_sides // stride), map_sides)
    return cells[:, 0], cells[:, 1]


def _extents(predictions: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height [B] and width [B] of the true image in cells of the map, fractions included."""
    map_sides = tf.shape(predictions[Predictions.edgemask])[1:3]
    stride = -(-predictions[Predictions.image_shape][1:3] // map_sides)
    true_sides = predictions[Predictions.true_image_shapes][:, :2]
    extents = tf.cast(true_sides, tf.float32) / tf.cast(stride, tf.float32)
    return extents[:, 0], extents[:, 1]


def _resize_weights(cells: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return the weight of each cell in a linear resize of the first cells: [B, size, num_cells].

    Args:
        cells: [B], how many cells the result covers.
        num_cells: of the map.
        size: S.
    """
    last = tf.cast(cells - 1, tf.float32)[:, tf.newaxis]
    step = tf.cast(cells, tf.float32)[:, tf.newaxis] / size
    positions = tf.minimum(tf.range(size, dtype=tf.float32) * step, last)
    return _linear_weights(positions, num_cells)


def _centered_resize_weights(extent: tf.Tensor, num_cells: tf.Tensor, size: int) -> tf.Tensor:
    """Return as `_resize_weights`, with cells that stand at their centers.

    Args:
        extent: float32 [B], how many cells the result covers.
        num_cells: of the map.
        size: S.
    """
    step = extent[:, tf.newaxis] / size
    positions = (tf.range(size, dtype=tf.float32) + 0.5) * step - 0.5
    last = tf.math.ceil(extent)[:, tf.newaxis] - 1.0
    return _linear_weights(tf.clip_by_value(positions, 0.0, last), num_cells)


def _linear_weights(positions: tf.Tensor, num_cells: tf.Tensor) -> tf.Tensor:
    """Return [B, S, num_cells], the weights of a linear interpolation at positions [B, S]."""
    distance = positions[..., tf.newaxis] - tf.range(tf.cast(num_cells, tf.float32))
    return tf.nn.relu(1.0 - tf.abs(distance))
