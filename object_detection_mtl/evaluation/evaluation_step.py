"""One batch of evaluation: detections, and the losses that training would report for them.

Shape letters: B batch, A anchors, D detections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from object_detection_mtl.fields import Batch, Detections, Groundtruth, Predictions
from object_detection_mtl.models import rpn
from object_detection_mtl.training import summary_names

Tensors = dict[str, tf.Tensor]
COMPARISONS = "auxiliary_comparisons"
_NEEDED = (
    Batch.inputs,
    Batch.true_image_shapes,
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.num_boxes,
    Groundtruth.weights,
)
# Labels of auxiliary tasks, of those that are on.
_IF_THERE = (
    Groundtruth.closeness,
    Groundtruth.window_boxes,
    Groundtruth.num_windows,
    Groundtruth.window_classes,
    Groundtruth.edgemask,
)
_RETURNED = (
    Detections.boxes,
    Detections.scores,
    Detections.classes,
    Detections.num_detections,
)


def make_infer_fn(
    detector: Any, element_spec: Mapping[str, tf.TypeSpec], *, compare: bool = False
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, Any]]:
    """A function from a batch to detections and losses, compiled once for pictures of any size.

    Args:
        detector: built for detecting (`is_training=False`).
        element_spec: of the evaluation data set.
        compare: return what auxiliary tasks predict next to their labels, too.

    Returns:
        batch -> `fields.Detections` [B, D, ...] and, as means over the batch, the scalars
        `Loss/...`: each term with its weight, the regularisation, the total. All proposals count
        in them, not the sample that training draws; anchors are drawn as in training, but from all
        that propose. Auxiliary tasks whose labels the data set has report theirs, and their
        `fields.Metrics` [2]: sum and count. With `compare` also COMPARISONS: caption ->
        `mtl.auxiliary_task.Comparison`.
    """
    keys = [*_NEEDED, *(key for key in _IF_THERE if key in element_spec)]
    spec = {key: element_spec[key] for key in keys}

    @tf.function(input_signature=[spec], autograph=False)
    def infer(batch: Tensors) -> dict[str, Any]:
        predictions = detector.predict(
            batch[Batch.inputs], batch[Batch.true_image_shapes], groundtruth=batch
        )
        detections = detector.postprocess(predictions, batch[Batch.true_image_shapes])
        found: dict[str, Any] = {key: detections[key] for key in _RETURNED}
        found |= detector.auxiliary_metrics(predictions, batch)
        if compare:
            found[COMPARISONS] = detector.auxiliary_comparisons(predictions, batch)
        return found | _losses(detector, predictions, batch)

    return lambda batch: infer({key: batch[key] for key in keys})


def _losses(detector: Any, predictions: Tensors, batch: Tensors) -> Tensors:
    terms = detector.loss(
        predictions | _anchors_of_images(detector, predictions), batch, seed=tf.constant([0, 0])
    )
    losses = {
        summary_names.weighted(key): detector.loss_weights[key] * loss
        for key, loss in terms.items()
    }
    losses[summary_names.REGULARIZATION] = detector.regularization_loss()
    losses[summary_names.TOTAL] = tf.add_n(list(losses.values()))
    return losses


def _anchors_of_images(detector: Any, predictions: Tensors) -> Tensors:
    """The anchors that propose in detecting: cut at the true image, without those in the padding.

    Training's mask would leave out all that cross the image's border.
    """
    region_proposals = detector.region_proposals
    anchors, usable = rpn.usable_anchors(
        region_proposals.anchors(predictions[Predictions.rpn_features_to_crop]),
        rpn.image_windows(predictions[Predictions.true_image_shapes]),
        cut=True,
        offset=region_proposals.anchor_generator.offset,
    )
    return {Predictions.anchors: anchors, Predictions.anchors_inside: usable}
