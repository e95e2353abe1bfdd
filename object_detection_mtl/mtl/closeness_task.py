"""Closeness labels: how near the objects of other classes are to a proposal's object.

Shape letters: B batch, P proposals, R refined proposals, G padded ground-truth boxes,
K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions
from object_detection_mtl.mtl import auxiliary_metrics
from object_detection_mtl.mtl.auxiliary_task import (
    Comparison,
    Context,
    RegionHead,
    RegionShares,
    Tensors,
    mean_over_valid,
)
from object_detection_mtl.ops import losses as loss_ops


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
        global_evidence: bool = True,
        name: str = "closeness",
    ) -> None:
        """Args:
        head: gives K + 1 logits per region.
        num_classes: K.
        loss_weight: of the closeness loss.
        global_evidence: tell the refinement the mean over the image's proposals, not each its own.
        """
        super().__init__(name=name)
        self.head = head
        self.loss_weights = {Losses.closeness: loss_weight}
        self.global_evidence = global_evidence
        self.evidence_width = num_classes + 1
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Logits [B, P, K + 1]."""
        reader = self.head.read(context.regions, training=context.training)
        return {Predictions.closeness: reader.proposals()}

    def evidence(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """[B, R, K + 1]: the mean over the image's proposals without padding, or each its own."""
        logits = predictions[Predictions.closeness]
        assert context.refined is not None
        if not self.global_evidence:
            return context.refined.of(logits)
        mean = mean_over_valid(logits, context.num_proposals)[:, tf.newaxis]
        return tf.tile(mean, [1, tf.shape(context.refined.boxes)[1], 1])

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Cross-entropy over the K foreground entries, for proposals matched to an object.

        Per image the sum over its matched proposals divided by their number, then the mean over
        images. Each counts by the sum of its label's foreground entries, so that an object without
        any of another class (its label is all background) counts nothing.
        """
        weights, labels = _labels_of_proposals(groundtruth)
        matched = tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), 1.0)
        losses = loss_ops.softmax_cross_entropy(
            predictions[Predictions.closeness][..., 1:],
            labels,
            weights / matched * tf.reduce_sum(labels, axis=-1),
        )
        return {Losses.closeness: tf.reduce_mean(tf.reduce_sum(losses, axis=1))}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        weights, labels = _labels_of_proposals(groundtruth)
        logits = predictions[Predictions.closeness][..., 1:]
        accuracy = auxiliary_metrics.closeness_accuracy(logits, labels, weights > 0)
        # The authors' name, and one that says what it is.
        return {Metrics.closeness_diff: accuracy, Metrics.closeness_accuracy: accuracy}

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Objects; the prediction is the mean of the proposals that are matched to the object."""
        boxes = groundtruth[Groundtruth.boxes]
        of_objects = tf.one_hot(groundtruth[Groundtruth.proposal_matches], tf.shape(boxes)[1])
        of_objects *= tf.cast(groundtruth[Groundtruth.proposal_weights] > 0, tf.float32)[..., None]
        predicted = tf.nn.softmax(predictions[Predictions.closeness][..., 1:])
        total = tf.matmul(of_objects, predicted, transpose_a=True)  # [B, G, K]
        count = tf.reduce_sum(of_objects, axis=1)[..., None]
        shares = RegionShares(
            regions=boxes,
            exists=tf.sequence_mask(groundtruth[Groundtruth.num_boxes], tf.shape(boxes)[1]),
            labels=groundtruth[Groundtruth.closeness],
            # Background has no share: nothing trains its logit.
            predicted=tf.pad(tf.math.divide_no_nan(total, count), [[0, 0], [0, 0], [1, 0]]),
        )
        return {"closeness: how near the other classes are to an object": shares}

    def tf1_variables(self) -> dict[str, keras.Variable]:
        return self.head.tf1_variables()


def _labels_of_proposals(groundtruth: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights [B, P], 0 without an object, and the foreground entries [B, P, K] of the labels."""
    rows = tf.maximum(groundtruth[Groundtruth.proposal_matches], 0)
    labels = tf.gather(groundtruth[Groundtruth.closeness], rows, batch_dims=1)
    return groundtruth[Groundtruth.proposal_weights], labels[..., 1:]
