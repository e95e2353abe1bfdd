"""Non-maximum suppression of batches, with padded results.

Shape letters: B batch, N candidate boxes, K classes without background, q boxes per candidate
(1 shared by all classes, or K), S most boxes kept per class, T = K * S, D detections per image.

Semantics (those of the OD API): per class, boxes are taken by descending score. A box is taken if
its score is strictly greater than the threshold and its IoU with every box taken before is not
greater than the threshold, until S are taken. Only then boxes are clipped to the image's window,
those left without area are dropped, the D best of all classes are kept and, if asked, moved to the
window's frame. Between equal scores the lower class comes first, then the lower row.

Nothing here is differentiable: gradients stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from object_detection_mtl.ops import boxes as box_ops
from object_detection_mtl.ops import lowering
from object_detection_mtl.ops.suppression import (
    Selection,
    select_by_kernel,
    select_by_openvino,
    select_class_by_class,
    select_in_loop,
)
from object_detection_mtl.ops.tensor_shapes import merge_last_axes, size, smallest


class NmsResult(NamedTuple):
    """Detections by descending score; all entries from num_detections on are 0."""

    boxes: tf.Tensor  # [B, D, 4]
    scores: tf.Tensor  # [B, D]
    classes: tf.Tensor  # [B, D] float32, 0-based
    num_detections: tf.Tensor  # [B] int32
    indices: tf.Tensor  # [B, D] int32, the row of N that each detection came from
    additional_fields: dict[str, tf.Tensor]  # [B, D, ...] each


def batch_multiclass_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_size_per_class: int,
    max_total_size: int,
    clip_window: tf.Tensor | None = None,
    change_coordinate_frame: bool = False,
    num_valid_boxes: tf.Tensor | None = None,
    soft_nms_sigma: float = 0.0,
    additional_fields: Mapping[str, tf.Tensor] | None = None,
) -> NmsResult:
    """Suppress boxes [B, N, q, 4] with scores [B, N, K], class by class.

    clip_window: [B, 4] or [4]; change_coordinate_frame needs it.
    num_valid_boxes: [B]; rows from there on are padding.
    soft_nms_sigma: if > 0, an overlap lowers the scores of the boxes that follow by
        exp(-IoU^2 / (2 sigma)) and iou_threshold is not used (Bodla et al., Soft-NMS, 2017).
    additional_fields: [B, N, ...] tensors of which the detections' rows are returned.
    """
    _check(boxes, scores, clip_window, change_coordinate_frame)
    boxes, scores, additional_fields = _prepare(
        boxes, scores, score_threshold, num_valid_boxes, additional_fields
    )
    per_class = smallest(max_size_per_class, size(scores, 1))
    if soft_nms_sigma > 0 or lowering.is_for_xla():
        # Box by box: the same result, some ten times slower on a CPU, but XLA compiles it.
        selection = select_in_loop(
            boxes, scores, score_threshold, iou_threshold, per_class, soft_nms_sigma
        )
    elif lowering.is_for_onnx():
        selection = select_class_by_class(boxes, scores, iou_threshold, per_class)
    elif lowering.is_for_openvino():
        selection = select_by_openvino(boxes, scores, iou_threshold, per_class)
    else:
        selection = select_by_kernel(boxes, scores, iou_threshold, per_class)
    return _finish(
        selection, max_total_size, clip_window, change_coordinate_frame, additional_fields
    )


def batch_class_agnostic_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_total_size: int,
    max_classes_per_detection: int = 1,
    clip_window: tf.Tensor | None = None,
    change_coordinate_frame: bool = False,
    num_valid_boxes: tf.Tensor | None = None,
    soft_nms_sigma: float = 0.0,
    additional_fields: Mapping[str, tf.Tensor] | None = None,
) -> NmsResult:
    """Suppress boxes among all classes at once: a box competes with its best class.

    At most max_total_size boxes are taken; each is reported for its max_classes_per_detection
    best classes, as far as their scores are greater than the threshold. With boxes per class
    (q = K) a candidate's place is that of its best class. Other arguments as in
    `batch_multiclass_nms`.
    """
    _check(boxes, scores, clip_window, change_coordinate_frame)
    boxes, scores, additional_fields = _prepare(
        boxes, scores, score_threshold, num_valid_boxes, additional_fields
    )
    num_copies = smallest(max_classes_per_detection, size(scores, 2))
    best_scores, best_classes = tf.math.top_k(scores, num_copies)  # [B, N, m]
    own_box = tf.minimum(best_classes[..., :1], tf.shape(boxes)[2] - 1)  # 0 where q = 1
    boxes = tf.gather(boxes, own_box, batch_dims=2)
    taken = batch_multiclass_nms(
        boxes,
        best_scores[..., :1],
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_size_per_class=max_total_size,
        max_total_size=max_total_size,
        soft_nms_sigma=soft_nms_sigma,
    )
    selection = _copy_per_class(taken, best_scores, best_classes, score_threshold)
    return _finish(
        selection, max_total_size, clip_window, change_coordinate_frame, additional_fields
    )


def _copy_per_class(
    taken: NmsResult, best_scores: tf.Tensor, best_classes: tf.Tensor, score_threshold: float
) -> Selection:
    """Return the boxes of a class-agnostic suppression for each of their best classes [B, N, m].

    Soft suppression lowered the score of the best class; the others follow in proportion.
    """
    num_copies = tf.shape(best_scores)[-1]
    scores = tf.gather(best_scores, taken.indices, batch_dims=1)  # [B, D, m]
    lowered = tf.math.divide_no_nan(taken.scores[..., tf.newaxis], scores[..., :1])
    scores = tf.concat([taken.scores[..., tf.newaxis], scores[..., 1:] * lowered], axis=-1)
    exists = tf.sequence_mask(taken.num_detections, size(taken.scores, 1))[..., tf.newaxis]
    return Selection(
        boxes=tf.repeat(taken.boxes, num_copies, axis=1),
        scores=merge_last_axes(scores),
        classes=merge_last_axes(tf.gather(best_classes, taken.indices, batch_dims=1)),
        rows=tf.repeat(taken.indices, num_copies, axis=1),
        valid=merge_last_axes(exists & (scores > score_threshold)),
    )


def _finish(
    selection: Selection,
    max_total_size: int,
    clip_window: tf.Tensor | None,
    change_coordinate_frame: bool,
    additional_fields: Mapping[str, tf.Tensor],
) -> NmsResult:
    """Clip, drop boxes without area, keep the best of all classes, pad, change frame."""
    boxes, valid = selection.boxes, selection.valid
    if clip_window is not None:
        clip_window = tf.cast(clip_window, boxes.dtype)
        boxes = box_ops.clip_to_window(boxes, clip_window)
        valid &= box_ops.area(boxes) > 0
    num_kept = smallest(max_total_size, size(valid, 1))
    sort_keys = tf.where(valid, selection.scores, float("-inf"))
    scores, slots = tf.math.top_k(sort_keys, num_kept)
    # A score of -inf is not a candidate, so the valid boxes come first.
    valid = scores > float("-inf")
    boxes = tf.gather(boxes, slots, batch_dims=1)
    if change_coordinate_frame:
        boxes = box_ops.change_coordinate_frame(boxes, clip_window)
    rows = tf.gather(selection.rows, slots, batch_dims=1)
    classes = tf.cast(tf.gather(selection.classes, slots, batch_dims=1), boxes.dtype)

    def padded(values: tf.Tensor) -> tf.Tensor:
        return _mask_and_pad(values, valid, max_total_size)

    fields = {
        name: padded(tf.gather(field, rows, batch_dims=1))
        for name, field in additional_fields.items()
    }
    num_detections = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1)
    return NmsResult(
        padded(boxes), padded(scores), padded(classes), num_detections, padded(rows), fields
    )


def _mask_and_pad(values: tf.Tensor, valid: tf.Tensor, padded_size: int) -> tf.Tensor:
    """Return values [B, n, ...] as [B, padded_size, ...], with zeros where not valid [B, n]."""
    rank = values.shape.rank
    valid = tf.reshape(valid, tf.concat([tf.shape(valid), [1] * (rank - 2)], axis=0))
    values = tf.where(valid, values, tf.zeros([], values.dtype))
    paddings = [[0, 0], [0, padded_size - size(values, 1)], *[[0, 0]] * (rank - 2)]
    padded = tf.pad(values, paddings)
    return tf.ensure_shape(padded, [values.shape[0], padded_size, *values.shape[2:]])


def _prepare(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    score_threshold: float,
    num_valid_boxes: tf.Tensor | None,
    additional_fields: Mapping[str, tf.Tensor] | None,
) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
    """Return the inputs without gradient, at least one row, with -inf where not a candidate.

    A score that is not a number is no candidate either.
    """
    boxes, scores = tf.stop_gradient(boxes), tf.stop_gradient(scores)
    candidates = scores > score_threshold
    if num_valid_boxes is not None:
        candidates &= tf.sequence_mask(num_valid_boxes, size(scores, 1))[..., tf.newaxis]
    scores = tf.where(candidates, scores, float("-inf"))
    fields = dict(additional_fields or {})
    if not scores.shape[1]:  # none or an unknown number: the kernel requires at least one row
        boxes, scores = _one_more_row(boxes), _one_more_row(scores, float("-inf"))
        fields = {name: _one_more_row(field) for name, field in fields.items()}
    return boxes, scores, fields


def _one_more_row(values: tf.Tensor, value: float = 0.0) -> tf.Tensor:
    """Return values [B, N, ...] as [B, N + 1, ...]."""
    paddings = [[0, 0], [0, 1], *[[0, 0]] * (values.shape.rank - 2)]
    return tf.pad(values, paddings, constant_values=tf.cast(value, values.dtype))


def _check(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    clip_window: tf.Tensor | None,
    change_coordinate_frame: bool,
) -> None:
    if change_coordinate_frame and clip_window is None:
        raise ValueError(
            "non-maximum suppression: change_coordinate_frame is set without a clip_window, "
            "which is the new frame; pass clip_window."
        )
    if boxes.shape.rank != 4 or scores.shape.rank != 3:
        raise ValueError(
            f"non-maximum suppression: boxes have shape {boxes.shape} and scores {scores.shape}, "
            "expected [batch, boxes, 1 or classes, 4] and [batch, boxes, classes]."
        )
    if boxes.shape[2] not in (None, 1, scores.shape[2]):
        raise ValueError(
            f"non-maximum suppression: boxes {boxes.shape} hold {boxes.shape[2]} boxes per "
            f"candidate, expected 1 or one for each of the {scores.shape[2]} classes."
        )
