"""Auxiliary tasks and refinement inside a detector: predictions, losses, metrics.

Shape letters: B batch, P proposals, K classes without background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Predictions
from object_detection_mtl.models import coordinate_frames
from object_detection_mtl.mtl import task_checks
from object_detection_mtl.mtl.auxiliary_task import (
    AuxiliaryTask,
    Comparison,
    Context,
    RefinedProposals,
    Tensors,
)
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.ops.targets import Targets


def predict(
    tasks: Sequence[AuxiliaryTask],
    refiner: Refiner | None,
    predictions: Tensors,
    regions: Any,
    groundtruth: Mapping[str, tf.Tensor],
    *,
    training: bool,
) -> Tensors:
    """Return the tasks' predictions and the refined class logits.

    Args:
        tasks: in the order of the refiner's inputs.
        refiner: None without refinement.
        predictions: predictions of both stages.
        regions: regions of the second stage.
        groundtruth: `fields.Groundtruth`; may be empty in inference.
        training: whether dropout and the like are on.

    Raises:
        ValueError: a task returns the key of another part, or logits of another width than its own.
    """
    context = Context(
        features=predictions[Predictions.rpn_features_to_crop],
        regions=regions,
        proposals=predictions[Predictions.proposal_boxes_normalized],
        num_proposals=predictions[Predictions.num_proposals],
        to_map=functools.partial(
            coordinate_frames.normalized_to_map,
            image_shape=predictions[Predictions.image_shape],
            true_image_shapes=predictions[Predictions.true_image_shapes],
        ),
        groundtruth=groundtruth,
        training=training,
    )
    class_logits = predictions[Predictions.class_predictions]
    if refiner is not None:
        context = replace(context, refined=refiner.choose(class_logits, context))
    outputs: Tensors = {}
    for task in tasks:
        made = task.predict(context)
        task_checks.check_predictions(task, made, outputs)
        outputs |= made
    if refiner is not None:
        auxiliary = [
            task_checks.check_width(task, task.auxiliary_logits(outputs, context))
            for task in tasks
            if task.auxiliary_width
        ]
        outputs[Predictions.refined_classes] = refiner.refine(class_logits, auxiliary, context)
    return outputs


def auxiliary_logits(tasks: Sequence[AuxiliaryTask], predictions: Tensors) -> Tensors:
    """Return name of a task -> what the refiner reads of it [B, P, width], in the refiner's order.

    Args:
        tasks: in the order of the refiner's inputs.
        predictions: all of a detector that refines all proposals.
    """
    proposals = predictions[Predictions.proposal_boxes_normalized]
    context = Context(
        features=predictions[Predictions.rpn_features_to_crop],
        regions=None,
        proposals=proposals,
        num_proposals=predictions[Predictions.num_proposals],
        to_map=lambda boxes: boxes,
        groundtruth={},
        training=False,
        refined=RefinedProposals(proposals),
    )
    return {
        task.name: task.auxiliary_logits(predictions, context)
        for task in tasks
        if task.auxiliary_width
    }


def losses(
    tasks: Sequence[AuxiliaryTask],
    predictions: Tensors,
    groundtruth: Mapping[str, tf.Tensor],
    assigned: Targets,
    *,
    require_labels: bool,
) -> Tensors:
    """Return the tasks' losses; those of tasks without labels are skipped, or are an error.

    Args:
        tasks: tasks of the detector.
        predictions: all of the detector's.
        groundtruth: `fields.Groundtruth`.
        assigned: the ground truth of the proposals.
        require_labels: whether every task must have its labels, as in training.

    Raises:
        ValueError: labels are missing and required, or losses of a task are not scalars with its
            keys.
    """
    matched = _matched(groundtruth, assigned)
    terms: Tensors = {}
    for task in tasks:
        missing = [key for key in task.labels if key not in groundtruth]
        if not missing:
            terms |= task_checks.check_losses(task, task.loss(predictions, matched))
        elif require_labels:
            raise ValueError(
                f"{', '.join(task.loss_weights)}: the ground truth has no {', '.join(missing)}; "
                "training with an auxiliary task needs its labels. Build the dataset with the "
                "model's label maker"
            )
    return terms


def metrics(
    tasks: Sequence[AuxiliaryTask],
    predictions: Tensors,
    groundtruth: Mapping[str, tf.Tensor],
    assigned: Targets,
) -> Tensors:
    """Return the metrics of the tasks whose labels are given; see `losses` for the arguments."""
    matched = _matched(groundtruth, assigned)
    found: Tensors = {}
    for task in _labeled(tasks, groundtruth):
        found |= task_checks.check_metrics(task, task.metrics(predictions, matched))
    return found


def compare(
    tasks: Sequence[AuxiliaryTask],
    predictions: Tensors,
    groundtruth: Mapping[str, tf.Tensor],
    assigned: Targets,
) -> dict[str, Comparison]:
    """Return caption -> predictions beside labels, of the tasks whose labels are given.

    See `losses` for the arguments.
    """
    matched = _matched(groundtruth, assigned)
    found: dict[str, Comparison] = {}
    for task in _labeled(tasks, groundtruth):
        found |= task.compare(predictions, matched)
    return found


def _labeled(
    tasks: Sequence[AuxiliaryTask], groundtruth: Mapping[str, tf.Tensor]
) -> list[AuxiliaryTask]:
    """Return the tasks whose labels are given."""
    return [task for task in tasks if all(key in groundtruth for key in task.labels)]


def _matched(groundtruth: Mapping[str, tf.Tensor], assigned: Targets) -> dict[str, tf.Tensor]:
    """Return the ground truth with the object that each proposal is matched to."""
    return {
        **groundtruth,
        Groundtruth.proposal_matches: assigned.matches,
        Groundtruth.proposal_weights: assigned.box_weights,
    }
