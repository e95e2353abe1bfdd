"""The auxiliary tasks and the refinement inside a detector: what runs when.

Shape letters: B batch, P proposals, K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Predictions
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.mtl.task import AuxiliaryTask, Context, Tensors
from object_detection_mtl.ops.targets import Targets


def predict(
    tasks: Sequence[AuxiliaryTask],
    refiner: Refiner | None,
    context: Context,
    class_logits: tf.Tensor,
) -> Tensors:
    """What the tasks predict, and the refined class logits.

    Args:
        context: without the refined proposals.
        class_logits: of the second stage, [B, P, K + 1].
    """
    if refiner is not None:
        refined = refiner.choose(
            class_logits, context.proposals, context.num_proposals, training=context.training
        )
        context = replace(context, refined=refined)
    predictions: Tensors = {}
    for task in tasks:
        predictions |= task.predict(context)
    if refiner is not None:
        evidence = [task.evidence(predictions, context) for task in tasks if task.evidence_width]
        predictions[Predictions.refined_classes] = refiner.refine(
            class_logits, evidence, refined, training=context.training
        )
    return predictions


def losses(
    tasks: Sequence[AuxiliaryTask],
    predictions: Tensors,
    groundtruth: Mapping[str, tf.Tensor],
    assigned: Targets,
    *,
    require_labels: bool,
) -> Tensors:
    """The tasks' losses; those of tasks without labels are left out, or are an error.

    Args:
        predictions: all of the detector's.
        groundtruth: `fields.Groundtruth`.
        assigned: the ground truth of the proposals.
        require_labels: whether every task must have its labels, as in training.

    Raises:
        ValueError: labels are missing and required.
    """
    matched = {
        **groundtruth,
        Groundtruth.proposal_matches: assigned.matches,
        Groundtruth.proposal_weights: assigned.box_weights,
    }
    terms: Tensors = {}
    for task in tasks:
        missing = [key for key in task.labels if key not in groundtruth]
        if not missing:
            terms |= task.loss(predictions, matched)
        elif require_labels:
            raise ValueError(
                f"{', '.join(task.loss_weights)}: the ground truth has no {', '.join(missing)}; "
                "training with an auxiliary task needs its labels"
            )
    return terms
