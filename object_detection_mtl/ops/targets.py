"""Training targets of both stages: classes and box codes.

Shape letters: B batch, G padded ground-truth boxes, A anchors, P proposals, N either of the two,
K classes without background.

Anchors, proposals and ground truth of a call share one unit (pixels or fractions). A ground-truth
box of weight 0 forces no match, but anchors and proposals that match it get weight 0: neither
positive nor negative. Rows of ground truth from num_groundtruth on are padding.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection_mtl.ops import box_coder, matcher
from object_detection_mtl.ops import boxes as box_ops


class Targets(NamedTuple):
    """Targets of one stage for a batch."""

    class_targets: tf.Tensor  # [B, A] 0 or 1 for anchors, [B, P, K+1] for proposals
    class_weights: tf.Tensor  # [B, N]
    box_targets: tf.Tensor  # [B, N, 4] codes, 0 where there is no match
    box_weights: tf.Tensor  # [B, N], 0 where there is no match
    matches: tf.Tensor  # [B, N] int32: row of the ground truth, -1 unmatched, -2 ignored


def assign_proposal_targets(
    anchors: tf.Tensor,
    groundtruth_boxes: tf.Tensor,
    num_groundtruth: tf.Tensor,
    groundtruth_weights: tf.Tensor | None = None,
    *,
    valid_anchors: tf.Tensor | None = None,
    matched_threshold: float = 0.7,
    unmatched_threshold: float = 0.3,
    force_match: bool = True,
    scale_factors: tuple[float, float, float, float] = box_coder.DEFAULT_SCALE_FACTORS,
) -> Targets:
    """Return first-stage targets, object or not, of anchors [A, 4] or [B, A, 4].

    Positive: IoU >= matched_threshold, or the best anchor of some box. Negative:
    IoU < unmatched_threshold. In between: ignored.
    groundtruth_boxes [B, G, 4], num_groundtruth [B], groundtruth_weights [B, G] (default 1).
    valid_anchors: bool [A] or [B, A]; the others (those that leave the image) are ignored and
    cannot be forced, exactly as if they were not there.
    """
    batch = tf.shape(groundtruth_boxes)[0]
    anchors = tf.convert_to_tensor(anchors)
    if anchors.shape.rank == 2:
        anchors = anchors[tf.newaxis]
    similarity = _similarity(groundtruth_boxes, anchors, num_groundtruth)
    if valid_anchors is not None:
        valid_anchors = tf.broadcast_to(valid_anchors, [batch, tf.shape(anchors)[1]])
        similarity = tf.where(valid_anchors[:, tf.newaxis, :], similarity, -1.0)
    may_force = _exists(groundtruth_boxes, num_groundtruth)
    if groundtruth_weights is not None:
        may_force &= groundtruth_weights > 0
    matches = matcher.argmax_match(
        similarity,
        matched_threshold=matched_threshold,
        unmatched_threshold=unmatched_threshold,
        force_match=force_match,
        valid_rows=may_force,
    )
    if valid_anchors is not None:
        matches = tf.where(valid_anchors, matches, matcher.IGNORED)
    class_targets = tf.cast(matches >= 0, tf.float32)
    return _targets(
        class_targets, matches, groundtruth_boxes, groundtruth_weights, anchors, scale_factors
    )


def assign_detection_targets(
    proposals: tf.Tensor,
    groundtruth_boxes: tf.Tensor,
    num_groundtruth: tf.Tensor,
    groundtruth_class_targets: tf.Tensor,
    groundtruth_weights: tf.Tensor | None = None,
    *,
    threshold: float = 0.5,
    scale_factors: tuple[float, float, float, float] = box_coder.DEFAULT_SCALE_FACTORS,
) -> Targets:
    """Return second-stage targets, classes, of proposals [B, P, 4].

    A proposal takes the class targets [B, G, K+1] (index 0 is background) of the box with which
    it has the greatest IoU, if that is >= threshold; else it is background. Nothing is ignored.
    """
    matches = matcher.argmax_match(
        _similarity(groundtruth_boxes, proposals, num_groundtruth), matched_threshold=threshold
    )
    background = tf.one_hot(0, tf.shape(groundtruth_class_targets)[-1])
    class_targets = _look_up(groundtruth_class_targets, matches, background, background)
    return _targets(
        class_targets, matches, groundtruth_boxes, groundtruth_weights, proposals, scale_factors
    )


def _targets(
    class_targets: tf.Tensor,
    matches: tf.Tensor,
    groundtruth_boxes: tf.Tensor,
    groundtruth_weights: tf.Tensor | None,
    anchors: tf.Tensor,
    scale_factors: tuple[float, float, float, float],
) -> Targets:
    """Return the targets that follow from matches [B, N], the same in both stages."""
    if groundtruth_weights is None:
        groundtruth_weights = tf.ones_like(groundtruth_boxes[..., 0])
    matched = matches >= 0
    # An unmatched anchor is encoded relative to itself: no infinite code that only a mask hides.
    matched_boxes = _look_up(groundtruth_boxes, matches, tf.zeros([4]), tf.zeros([4]))
    matched_boxes = tf.where(matched[..., tf.newaxis], matched_boxes, anchors)
    codes = box_coder.encode(matched_boxes, anchors, scale_factors)
    targets = Targets(
        class_targets=class_targets,
        class_weights=_look_up(groundtruth_weights, matches, 1.0, 0.0),
        box_targets=tf.where(matched[..., tf.newaxis], codes, 0.0),
        box_weights=_look_up(groundtruth_weights, matches, 0.0, 0.0),
        matches=matches,
    )
    return Targets(*(tf.stop_gradient(target) for target in targets))


def _look_up(
    table: tf.Tensor,
    matches: tf.Tensor,
    unmatched: tf.Tensor | float,
    ignored: tf.Tensor | float,
) -> tf.Tensor:
    """Return the row of table [B, G, ...] for each match [B, N], other values for -1 and -2."""
    others = tf.stack([tf.cast(unmatched, table.dtype), tf.cast(ignored, table.dtype)])
    shape = tf.concat([tf.shape(table)[:1], tf.shape(others)], axis=0)
    extended = tf.concat([table, tf.broadcast_to(others, shape)], axis=1)
    rows = tf.where(matches >= 0, matches, tf.shape(table)[1] + matcher.UNMATCHED - matches)
    return tf.gather(extended, rows, batch_dims=1)


def _similarity(
    groundtruth_boxes: tf.Tensor, anchors: tf.Tensor, num_groundtruth: tf.Tensor
) -> tf.Tensor:
    """Return the IoU [B, G, N]; -1, which matches nothing, in rows that are padding."""
    exists = _exists(groundtruth_boxes, num_groundtruth)
    return tf.where(exists[..., tf.newaxis], box_ops.iou(groundtruth_boxes, anchors), -1.0)


def _exists(groundtruth_boxes: tf.Tensor, num_groundtruth: tf.Tensor) -> tf.Tensor:
    """Return bool [B, G]: the row is not padding."""
    return tf.sequence_mask(num_groundtruth, tf.shape(groundtruth_boxes)[1])
