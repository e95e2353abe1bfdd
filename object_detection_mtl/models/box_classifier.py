"""Second-stage targets and losses.

Shape letters: B batch, P proposals, G padded ground-truth boxes,
K classes without background. Boxes are in absolute pixels of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses
from object_detection_mtl.ops import boxes as box_ops
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops import targets

ClassificationLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
# (localization losses [B, P], classification losses [B, P], boxes [B, P, 4],
# num_valid=[B], is_positive=[B, P]) -> bool [B, P]; `ops.hard_example_miner` with its options.
HardExampleMiner = Callable[..., tf.Tensor]
# Loss -> its weight in the sample configs.
LOSS_WEIGHTS = {
    Losses.rpn_localization: 2.0,
    Losses.rpn_objectness: 1.0,
    Losses.box_localization: 2.0,
    Losses.box_classification: 1.0,
}


@dataclass(frozen=True)
class AbsoluteGroundtruth:
    """Padded ground truth of a batch in the frame of the proposals.

    Attributes:
        boxes: [B, G, 4] absolute pixels of the inputs.
        num_boxes: [B] int32.
        class_targets: [B, G, K + 1] one-hot.
        weights: [B, G] or None; 0 never contributes.
    """

    boxes: tf.Tensor
    num_boxes: tf.Tensor
    class_targets: tf.Tensor
    weights: tf.Tensor | None


def absolute_groundtruth(
    groundtruth: Mapping[str, tf.Tensor], true_image_shapes: tf.Tensor, num_classes: int
) -> AbsoluteGroundtruth:
    """Return the padded ground truth of `fields.Groundtruth` in pixels; shapes are [B, 3]."""
    sides = tf.cast(true_image_shapes[:, :2], tf.float32)
    classes = tf.cast(groundtruth[Groundtruth.classes], tf.int32)
    return AbsoluteGroundtruth(
        boxes=box_ops.scale(groundtruth[Groundtruth.boxes], sides[:, 0], sides[:, 1]),
        num_boxes=groundtruth[Groundtruth.num_boxes],
        class_targets=tf.one_hot(classes, num_classes + 1),
        weights=groundtruth.get(Groundtruth.weights),
    )


def assign(
    proposals: tf.Tensor,
    num_proposals: tf.Tensor,
    groundtruth: AbsoluteGroundtruth,
    matched_threshold: float,
) -> targets.Targets:
    """Return the targets of proposals [B, P, 4]; padded proposals get weight 0."""
    assigned = targets.assign_detection_targets(
        proposals,
        groundtruth.boxes,
        groundtruth.num_boxes,
        groundtruth.class_targets,
        groundtruth.weights,
        threshold=matched_threshold,
    )
    valid = tf.sequence_mask(num_proposals, tf.shape(proposals)[1], dtype=tf.float32)
    return assigned._replace(
        class_weights=assigned.class_weights * valid, box_weights=assigned.box_weights * valid
    )


def box_classifier_loss(
    refined_box_encodings: tf.Tensor,
    class_logits: tf.Tensor,
    num_proposals: tf.Tensor,
    assigned: targets.Targets,
    *,
    classification_loss: ClassificationLoss = loss_ops.softmax_cross_entropy,
) -> dict[str, tf.Tensor]:
    """Return localization and classification loss: means over proposals, then over images.

    Args:
        refined_box_encodings: [B, P, K, 4], or [B, P, 1, 4] when the classes share a box.
        class_logits: [B, P, K + 1].
        num_proposals: [B].
        assigned: result of `assign`.
        classification_loss: (logits, targets, weights [B, P]) -> [B, P].
    """
    localization, classification = proposal_losses(
        refined_box_encodings, class_logits, assigned, classification_loss
    )
    return {
        Losses.box_localization: _mean_over_proposals(localization, num_proposals),
        Losses.box_classification: _mean_over_proposals(classification, num_proposals),
    }


def proposal_losses(
    refined_box_encodings: tf.Tensor,
    class_logits: tf.Tensor,
    assigned: targets.Targets,
    classification_loss: ClassificationLoss,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the localization and the classification loss of each proposal, both [B, P]."""
    if refined_box_encodings.shape[2] == 1:
        encodings = refined_box_encodings[:, :, 0]
    else:
        # Background rows select no class and give zeros; their box weight is 0 anyway.
        chosen = assigned.class_targets[..., 1:, tf.newaxis]
        encodings = tf.reduce_sum(refined_box_encodings * chosen, axis=2)
    localization = loss_ops.smooth_l1(encodings, assigned.box_targets, assigned.box_weights)
    return localization, classification_loss(
        class_logits, assigned.class_targets, assigned.class_weights
    )


def class_loss(
    class_logits: tf.Tensor,
    num_proposals: tf.Tensor,
    assigned: targets.Targets,
    classification_loss: ClassificationLoss,
) -> tf.Tensor:
    """Return only the classification loss; arguments as in `box_classifier_loss`."""
    losses = classification_loss(class_logits, assigned.class_targets, assigned.class_weights)
    return _mean_over_proposals(losses, num_proposals)


def _mean_over_proposals(losses: tf.Tensor, num_proposals: tf.Tensor) -> tf.Tensor:
    """Return the mean of losses [B, P]; those of padding are 0."""
    normalizer = tf.cast(tf.maximum(num_proposals, 1), tf.float32)
    return tf.reduce_mean(tf.reduce_sum(losses, axis=1) / normalizer)


def keep_hard_examples(
    assigned: targets.Targets,
    refined_box_encodings: tf.Tensor,
    class_logits: tf.Tensor,
    proposals: tf.Tensor,
    num_proposals: tf.Tensor,
    *,
    classification_loss: ClassificationLoss,
    miner: HardExampleMiner,
) -> targets.Targets:
    """Return `assigned` with weight 0 for all except the hard proposals of each image.

    Args:
        assigned: targets of all proposals.
        refined_box_encodings: [B, P, K or 1, 4].
        class_logits: [B, P, K + 1].
        proposals: [B, P, 4].
        num_proposals: [B].
        classification_loss: (logits, targets, weights [B, P]) -> [B, P].
        miner: chooses by the losses.
    """
    localization, classification = proposal_losses(
        refined_box_encodings, class_logits, assigned, classification_loss
    )
    hard = miner(
        localization,
        classification,
        proposals,
        num_valid=num_proposals,
        is_positive=assigned.class_targets[..., 0] < 0.5,
    )
    hard = tf.cast(hard, tf.float32)
    return assigned._replace(
        class_weights=assigned.class_weights * hard, box_weights=assigned.box_weights * hard
    )
