"""Closeness task: how near the objects of other classes are to a proposal's object.

Shape letters: B batch, P proposals, R refined proposals, G padded ground-truth boxes,
K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions, TfExample
from object_detection_mtl.mtl import auxiliary_metrics, labels
from object_detection_mtl.mtl.auxiliary_task import (
    Comparison,
    Context,
    RegionComparison,
    RegionHead,
    Tensors,
    mean_over_valid,
)
from object_detection_mtl.mtl.labels import stored_labels
from object_detection_mtl.mtl.task_labels import LabelInputs, LabelSpec, StoredInputs, TaskLabels
from object_detection_mtl.ops import losses as loss_ops


@dataclass(frozen=True)
class ClosenessLabels(TaskLabels):
    """One closeness label per ground-truth box."""

    stored = {TfExample.closeness: tf.string}

    def specs(self, num_classes: int) -> dict[str, LabelSpec]:
        """Return the spec of the rows [G, K + 1]."""
        return {Groundtruth.closeness: LabelSpec((None, num_classes + 1), per_object=True)}

    def make(self, inputs: LabelInputs) -> Tensors:
        """Return a row per box; rows of padding are 0."""
        rows = labels.closeness_labels(
            inputs.boxes, inputs.classes, inputs.image_size, inputs.num_classes
        )
        return {Groundtruth.closeness: rows}

    def read(self, inputs: StoredInputs) -> Tensors:
        """Return a row per object of the record."""
        rows = stored_labels.soft_label_rows(
            inputs.features[TfExample.closeness],
            inputs.num_objects,
            inputs.num_classes,
            TfExample.closeness,
            inputs.image_id,
        )
        return {Groundtruth.closeness: rows}

    def flip_left_right(self, labels: Tensors) -> Tensors:
        """Return no labels: a flip does not change distances."""
        return {}


class ClosenessTask(keras.layers.Layer):
    """A class head on the proposals."""

    labels = (Groundtruth.closeness,)
    optional_labels = ()
    outputs = (Predictions.closeness,)

    def __init__(
        self,
        head: RegionHead,
        *,
        num_classes: int,
        loss_weight: float = 1.0,
        global_mean: bool = True,
        name: str = "closeness",
    ) -> None:
        """Initialize the task.

        Args:
            head: gives K + 1 logits per region.
            num_classes: K.
            loss_weight: weight of the closeness loss.
            global_mean: the refiner reads the mean over the image's proposals, the same for all of
                them, instead of each proposal's own logits.
            name: name of the layer.
        """
        super().__init__(name=name)
        self.head = head
        self.loss_weights = {Losses.closeness: loss_weight}
        self.global_mean = global_mean
        self.auxiliary_width = num_classes + 1
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Return logits [B, P, K + 1]."""
        reader = self.head.read(context.regions, training=context.training)
        return {Predictions.closeness: reader.proposals()}

    def auxiliary_logits(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """Return [B, R, K + 1]: the mean over the image's valid proposals, or each one's own."""
        logits = predictions[Predictions.closeness]
        assert context.refined is not None
        if not self.global_mean:
            return context.refined.of(logits)
        mean = mean_over_valid(logits, context.num_proposals)[:, tf.newaxis]
        return tf.tile(mean, [1, tf.shape(context.refined.boxes)[1], 1])

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return the cross-entropy over the K foreground entries, for matched proposals.

        Per image the sum over its matched proposals divided by their number, then the mean over
        images. Each term is multiplied by the sum of its label's foreground entries: an object
        without any of another class (its label is all background) contributes 0.

        See `AuxiliaryTask.loss` for the arguments.
        """
        weights, labels_of_proposals = _labels_of_proposals(groundtruth)
        matched = tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1.0)
        losses = loss_ops.softmax_cross_entropy(
            predictions[Predictions.closeness][..., 1:],
            labels_of_proposals,
            weights / matched * tf.reduce_sum(labels_of_proposals, axis=-1),
        )
        return {Losses.closeness: tf.reduce_mean(tf.reduce_sum(losses, axis=1))}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return the accuracy, under the authors' name and under a plain one."""
        weights, labels_of_proposals = _labels_of_proposals(groundtruth)
        logits = predictions[Predictions.closeness][..., 1:]
        accuracy = auxiliary_metrics.closeness_accuracy(logits, labels_of_proposals, weights > 0)
        return {Metrics.closeness_diff: accuracy, Metrics.closeness_accuracy: accuracy}

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Return the objects' labels and the mean predictions of the proposals matched to them."""
        boxes = groundtruth[Groundtruth.boxes]
        of_objects = tf.one_hot(groundtruth[Groundtruth.proposal_matches], tf.shape(boxes)[1])
        of_objects *= tf.cast(groundtruth[Groundtruth.proposal_weights] > 0, tf.float32)[..., None]
        predicted = tf.nn.softmax(predictions[Predictions.closeness][..., 1:])
        total = tf.matmul(of_objects, predicted, transpose_a=True)  # [B, G, K]
        count = tf.reduce_sum(of_objects, axis=1)[..., None]
        comparison = RegionComparison(
            regions=boxes,
            exists=tf.sequence_mask(groundtruth[Groundtruth.num_boxes], tf.shape(boxes)[1]),
            labels=groundtruth[Groundtruth.closeness],
            # The background logit is not trained.
            predicted=tf.pad(tf.math.divide_no_nan(total, count), [[0, 0], [0, 0], [1, 0]]),
        )
        return {"closeness: how near the other classes are to an object": comparison}

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        return self.head.tf1_variables()


def _labels_of_proposals(groundtruth: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Return weights [B, P], 0 without an object, and foreground entries [B, P, K] of labels."""
    rows = tf.maximum(groundtruth[Groundtruth.proposal_matches], 0)
    rows_of_proposals = tf.gather(groundtruth[Groundtruth.closeness], rows, batch_dims=1)
    return groundtruth[Groundtruth.proposal_weights], rows_of_proposals[..., 1:]
