"""Online hard example mining.

Shape letters: B batch, N examples (proposals).

Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, 2016.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.ops import nms


def mine_hard_examples(
    location_losses: tf.Tensor,
    class_losses: tf.Tensor,
    boxes: tf.Tensor,
    *,
    num_hard_examples: int | None,
    iou_threshold: float,
    loss_type: str = "both",
    location_loss_weight: float = 1.0,
    class_loss_weight: float = 1.0,
    num_valid: tf.Tensor | None = None,
    is_positive: tf.Tensor | None = None,
    max_negatives_per_positive: float | None = None,
    min_negatives_per_image: int = 0,
) -> tf.Tensor:
    """Return bool [B, N]: the examples of each image that are trained on.

    Examples are taken by descending loss, skipping any whose box [B, N, 4] overlaps one taken
    before by more than iou_threshold (a duplicate of the same error), up to
    num_hard_examples per image (None: as many as there are).

    location_losses, class_losses: [B, N], what "loss" means by loss_type: "loc", "cls", or "both",
        their weighted sum.
    num_valid: [B], examples from there on are padding.
    max_negatives_per_positive: among the taken, keep that many times the number of positives of
        the negatives, the hardest, but at least min_negatives_per_image; needs is_positive [B, N].
    """
    if max_negatives_per_positive is not None and is_positive is None:
        raise ValueError(
            f"mine_hard_examples: max_negatives_per_positive is {max_negatives_per_positive} but "
            "is_positive is missing; pass both."
        )
    losses = {
        "loc": location_losses,
        "cls": class_losses,
        "both": location_losses * location_loss_weight + class_losses * class_loss_weight,
    }
    if loss_type not in losses:
        raise ValueError(
            f"mine_hard_examples: loss_type is {loss_type!r}, expected one of {', '.join(losses)}."
        )
    most = num_hard_examples or boxes.shape[1]
    taken = nms.batch_multiclass_nms(
        boxes[:, :, tf.newaxis, :],
        losses[loss_type][..., tf.newaxis],
        score_threshold=float("-inf"),
        iou_threshold=iou_threshold,
        max_size_per_class=most,
        max_total_size=most,
        num_valid_boxes=num_valid,
    )
    kept = tf.sequence_mask(taken.num_detections, most)
    if max_negatives_per_positive is not None:
        positive = kept & tf.gather(is_positive, taken.indices, batch_dims=1)
        negative = kept & ~positive
        num_positives = tf.reduce_sum(tf.cast(positive, tf.float32), axis=1, keepdims=True)
        most_negatives = tf.maximum(
            tf.cast(max_negatives_per_positive * num_positives, tf.int32), min_negatives_per_image
        )
        rank = tf.cumsum(tf.cast(negative, tf.int32), axis=1)
        kept = positive | (negative & (rank <= most_negatives))
    return _to_mask(taken.indices, kept, location_losses)


def _to_mask(rows: tf.Tensor, kept: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Return bool [B, N]: the rows [B, D] that are kept [B, D]."""
    images = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, tf.newaxis], tf.shape(rows))
    counts = tf.scatter_nd(
        tf.stack([images, rows], axis=-1), tf.cast(kept, tf.int32), tf.shape(like)
    )
    return tf.ensure_shape(counts > 0, like.shape)
