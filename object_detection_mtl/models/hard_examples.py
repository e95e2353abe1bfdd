"""Training the second stage on the proposals with the greatest losses instead of a random sample.

Shape letters: B batch, P proposals, K classes without background.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.models import box_classifier
from object_detection_mtl.ops.targets import Targets

# (localisation losses [B, P], classification losses [B, P], boxes [B, P, 4],
# num_valid=[B], is_positive=[B, P]) -> bool [B, P]; `ops.hard_example_miner` with its options.
HardExampleMiner = Callable[..., tf.Tensor]


def keep(
    assigned: Targets,
    refined_box_encodings: tf.Tensor,
    class_logits: tf.Tensor,
    proposals: tf.Tensor,
    num_proposals: tf.Tensor,
    *,
    classification_loss: box_classifier.ClassificationLoss,
    miner: HardExampleMiner,
) -> Targets:
    """`assigned` with weight 0 for all proposals but the hard ones, image by image.

    Args:
        assigned: targets of all proposals.
        refined_box_encodings: [B, P, K or 1, 4], class_logits: [B, P, K + 1].
        proposals: [B, P, 4], num_proposals: [B].
        classification_loss: (logits, targets, weights [B, P]) -> [B, P].
        miner: chooses by the losses.
    """
    localization, classification = box_classifier.proposal_losses(
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
