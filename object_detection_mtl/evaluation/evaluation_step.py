"""Evaluation of one batch: detections, losses and metrics of the auxiliary tasks.

Shape letters: B batch, A anchors, D detections.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.export.exported_module import served_detections
from object_detection_mtl.export.runtimes import runtime_conversion
from object_detection_mtl.fields import Batch, Detections, Groundtruth, Metrics, Predictions
from object_detection_mtl.models import coordinate_frames, proposals
from object_detection_mtl.training import summary_names

Tensors = dict[str, tf.Tensor]
COMPARISONS = "auxiliary_comparisons"
_INPUTS = (Batch.inputs, Batch.true_image_shapes)
_NEEDED = (
    *_INPUTS,
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.num_boxes,
    Groundtruth.weights,
)
_RETURNED = (
    Detections.boxes,
    Detections.scores,
    Detections.classes,
    Detections.num_detections,
)
_logger = logging.getLogger(__name__)


def make_infer_fn(
    detector: Any, element_spec: Mapping[str, tf.TypeSpec], *, compare: bool = False
) -> Callable[[Mapping[str, tf.Tensor]], dict[str, Any]]:
    """Return a function from a batch to detections, compiled once for images of any size.

    The function returns `fields.Detections` [B, D, ...] and, as means over the batch, the scalars
    `Loss/...`: each term with its weight, the regularization, the total. They include all
    proposals, not the random sample of training; anchors are sampled as in training, but from all
    that yield proposals. With a refinement it also returns the prediction of the main class head
    for every detection, `Detections.main_scores` and `main_classes`. Auxiliary tasks whose labels
    the dataset has also return their losses and their metrics [2]: sum and count. A warning
    names the tasks without labels.

    Args:
        detector: with loaded weights.
        element_spec: element spec of the evaluation dataset.
        compare: also return COMPARISONS: caption -> `mtl.auxiliary_task.Comparison`.

    Raises:
        ValueError: (when called first) a metric's name that the evaluation would not report.
    """
    keys = [*_NEEDED, *_label_keys(detector, element_spec)]
    spec = {key: element_spec[key] for key in keys}

    @tf.function(input_signature=[spec], autograph=False)
    def infer(batch: Tensors) -> dict[str, Any]:
        predictions = detector.predict(
            batch[Batch.inputs],
            batch[Batch.true_image_shapes],
            groundtruth=batch,
            training=False,
        )
        detections = detector.postprocess(predictions, batch[Batch.true_image_shapes])
        found: dict[str, Any] = {key: detections[key] for key in _RETURNED}
        found |= _main_branch(detector, predictions, detections)
        found |= _metrics(detector, predictions, batch)
        if compare:
            found[COMPARISONS] = detector.auxiliary_comparisons(predictions, batch)
        return found | _losses(detector, predictions, batch)

    return lambda batch: infer({key: batch[key] for key in keys})


def _main_branch(detector: Any, predictions: Tensors, detections: Tensors) -> Tensors:
    """Return the best class [B, D] of the main head for each detection, and its score."""
    if Predictions.refined_classes not in predictions:
        return {}
    convert = detector.detection_selection.score_converter
    scores = convert(predictions[Predictions.class_predictions])[..., 1:]
    rows = tf.cast(detections[Detections.anchor_indices], tf.int32)
    of_detections = tf.gather(scores, rows, batch_dims=1)
    return {
        Detections.main_classes: tf.argmax(of_detections, axis=-1),
        Detections.main_scores: tf.reduce_max(of_detections, axis=-1),
    }


def _label_keys(detector: Any, element_spec: Mapping[str, tf.TypeSpec]) -> list[str]:
    """Return the keys of the tasks' labels in the dataset; warn about tasks without labels."""
    keys: list[str] = []
    for task in detector.aux_tasks:
        missing = [key for key in task.labels if key not in element_spec]
        if missing:
            _logger.warning(
                "%s: the evaluation dataset has no %s, so the losses and metrics of this auxiliary "
                "task are not reported. Build the dataset with the model's label maker.",
                ", ".join(task.loss_weights),
                ", ".join(missing),
            )
        else:
            optional = [key for key in task.optional_labels if key in element_spec]
            keys += [*task.labels, *optional]
    return list(dict.fromkeys(keys))


def _metrics(detector: Any, predictions: Tensors, batch: Tensors) -> Tensors:
    """Return the tasks' metrics, each [2]: a sum and a count."""
    metrics = detector.auxiliary_metrics(predictions, batch)
    for name in metrics:
        if not name.startswith(Metrics.prefix):
            raise ValueError(
                f'auxiliary metric "{name}": names of auxiliary metrics begin with '
                f'"{Metrics.prefix}", others are not reported. Rename it in the task\'s `metrics`'
            )
    return metrics


def _losses(detector: Any, predictions: Tensors, batch: Tensors) -> Tensors:
    """Return TensorBoard name -> weighted loss, with the regularization and the total."""
    terms = detector.loss(
        predictions | anchors_of_images(detector, predictions),
        batch,
        seed=tf.constant([0, 0]),
        training=False,
    )
    losses = {
        summary_names.weighted(key): detector.loss_weights[key] * loss
        for key, loss in terms.items()
    }
    losses[summary_names.REGULARIZATION] = detector.regularization_loss()
    losses[summary_names.TOTAL] = tf.add_n(list(losses.values()))
    return losses


def anchors_of_images(detector: Any, predictions: Tensors) -> Tensors:
    """Return the anchors of inference as predictions: clipped to the image, none in the padding.

    `detector.loss` needs them of a detector built for inference. Training's mask would ignore all
    anchors that cross the image's border.
    """
    region_proposals = detector.region_proposals
    anchors, usable = proposals.select_usable_anchors(
        region_proposals.anchors(predictions[Predictions.rpn_features_to_crop]),
        coordinate_frames.image_windows(predictions[Predictions.true_image_shapes]),
        clip=True,
        offset=region_proposals.anchor_generator.offset,
    )
    return {Predictions.anchors: anchors, Predictions.anchors_inside: usable}


class InputsModule(tf.Module):
    """A detector as a function of resized and normalized batches.

    Args:
        detector: with loaded weights.
        element_spec: element spec of the evaluation dataset.

    Attributes:
        detect: inputs [B, h, w, 3], true_image_shapes [B, 3] -> `fields.Detections` [B, D, ...],
            all float32, with 1-based classes.
    """

    def __init__(self, detector: Any, element_spec: Mapping[str, tf.TypeSpec]) -> None:
        super().__init__(name="inputs_module")

        def detect(inputs: tf.Tensor, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
            predictions = detector.predict(inputs, true_image_shapes, training=False)
            detections = detector.postprocess(predictions, true_image_shapes)
            return served_detections({key: detections[key] for key in _RETURNED})

        specs = [tf.TensorSpec.from_spec(element_spec[key], name=key) for key in _INPUTS]
        self.detect = tf.function(detect, input_signature=specs, autograph=False)


def make_engine_infer_fn(
    detector: Any, dataset: tf.data.Dataset, engine: str, precision: str
) -> tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]:
    """Return the engine's name, and a function from a batch to detections.

    The function is that of `make_infer_fn` without losses and metrics of the tasks, which need the
    TensorFlow detector. It has the detector's current weights as constants.

    Args:
        detector: with loaded weights.
        dataset: evaluation dataset; engine 'auto' is chosen by its first batch.
        engine: see `runtime_conversion.function_in_engine`.
        precision: see `runtime_conversion.function_in_engine`.
    """

    def arrays(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {key: np.asarray(batch[key]) for key in _INPUTS}

    chosen, run = runtime_conversion.function_in_engine(
        engine,
        lambda: InputsModule(detector, dataset.element_spec),
        precision=precision,
        samples=lambda: (arrays(batch) for batch in dataset.take(1)),
    )

    def infer(batch: Mapping[str, Any]) -> Mapping[str, Any]:
        found = run(arrays(batch))
        return {**found, Detections.classes: found[Detections.classes] - 1.0}

    return chosen, infer
