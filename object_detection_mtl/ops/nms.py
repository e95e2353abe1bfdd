"""Non-maximum suppression: from many overlapping scored boxes to a padded list of detections.

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

# Bit pattern of the smallest normal float32: from here on, the floats that integers stand for
# bit by bit are positive and ordered like the integers.
_SMALLEST_NORMAL = 0x00800000


class NmsResult(NamedTuple):
    """Detections by descending score; all entries from num_detections on are 0."""

    boxes: tf.Tensor  # [B, D, 4]
    scores: tf.Tensor  # [B, D]
    classes: tf.Tensor  # [B, D] float32, 0-based
    num_detections: tf.Tensor  # [B] int32
    indices: tf.Tensor  # [B, D] int32, the row of N that each detection came from
    additional_fields: dict[str, tf.Tensor]  # [B, D, ...] each


class _Selection(NamedTuple):
    """What suppression kept, ordered by class, then by descending score; before any clipping."""

    boxes: tf.Tensor  # [B, T, 4]
    scores: tf.Tensor  # [B, T]
    classes: tf.Tensor  # [B, T] int32
    rows: tf.Tensor  # [B, T] int32
    valid: tf.Tensor  # [B, T] bool


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
    use_loop: bool = False,
    additional_fields: Mapping[str, tf.Tensor] | None = None,
) -> NmsResult:
    """Suppression class by class of boxes [B, N, q, 4] with scores [B, N, K].

    clip_window: [B, 4] or [4]; change_coordinate_frame needs it.
    num_valid_boxes: [B]; rows from there on are padding.
    soft_nms_sigma: if > 0, an overlap lowers the scores of the boxes that follow by
        exp(-IoU^2 / (2 sigma)) and iou_threshold is not used (Bodla et al., Soft-NMS, 2017).
    use_loop: take the boxes one by one in a `tf.while_loop`: the same result, some ten times
        slower on a CPU, but XLA compiles it (it has no kernel for the fast way).
    additional_fields: [B, N, ...] tensors of which the detections' rows are returned.
    """
    _check(boxes, scores, clip_window, change_coordinate_frame)
    boxes, scores = tf.stop_gradient(boxes), tf.stop_gradient(scores)
    scores = _only_candidates(scores, score_threshold, num_valid_boxes)
    per_class = _smallest(max_size_per_class, _size(scores, 1))
    if soft_nms_sigma > 0 or use_loop:
        selection = _select_in_loop(
            boxes, scores, score_threshold, iou_threshold, per_class, soft_nms_sigma
        )
    else:
        selection = _select_by_kernel(boxes, scores, iou_threshold, per_class)
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
    use_loop: bool = False,
    additional_fields: Mapping[str, tf.Tensor] | None = None,
) -> NmsResult:
    """Suppression among all classes at once: a box competes with its best class.

    At most max_total_size boxes are taken; each is reported for its max_classes_per_detection
    best classes, as far as their scores are greater than the threshold. With boxes per class
    (q = K) a candidate's place is that of its best class. Other arguments as in
    `batch_multiclass_nms`.
    """
    _check(boxes, scores, clip_window, change_coordinate_frame)
    best_scores, best_classes = tf.math.top_k(scores, max_classes_per_detection)  # [B, N, m]
    if boxes.shape[2] != 1:
        boxes = tf.gather(boxes, best_classes[..., :1], batch_dims=2)
    taken = batch_multiclass_nms(
        boxes,
        best_scores[..., :1],
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_size_per_class=max_total_size,
        max_total_size=max_total_size,
        num_valid_boxes=num_valid_boxes,
        soft_nms_sigma=soft_nms_sigma,
        use_loop=use_loop,
    )
    selection = _copy_per_class(taken, best_scores, best_classes, score_threshold)
    return _finish(
        selection, max_total_size, clip_window, change_coordinate_frame, additional_fields
    )


def _select_by_kernel(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, per_class: tf.Tensor | int
) -> _Selection:
    """Greedy suppression by TensorFlow's batched kernel.

    The kernel returns boxes and scores but not rows, orders equal scores by chance and caps the
    total before we can clip. So it is given, in place of scores, codes that say where each score
    stands in the order we want: all distinct, and each names its class and row.
    """
    num_boxes, num_classes = _size(scores, 1), _size(scores, 2)
    sorted_scores, sorted_rows = tf.math.top_k(tf.transpose(scores, [0, 2, 1]), num_boxes)
    # Within an image: place 0 is the best box of class 0, place N the best of class 1, ...
    places_per_image = num_boxes * num_classes
    places = _ranks(sorted_rows) + tf.range(num_classes)[:, tf.newaxis] * num_boxes  # [B, K, N]
    codes = tf.bitcast(_SMALLEST_NORMAL + places_per_image - places, tf.float32)
    codes = tf.where(scores > float("-inf"), tf.transpose(codes, [0, 2, 1]), 0.0)
    kept = tf.raw_ops.CombinedNonMaxSuppression(
        boxes=boxes,
        scores=codes,
        max_output_size_per_class=per_class,
        max_total_size=per_class * num_classes,
        iou_threshold=iou_threshold,
        score_threshold=0.0,
        pad_per_class=False,
        clip_boxes=False,
    )
    valid = kept.nmsed_scores > 0
    place = _SMALLEST_NORMAL + places_per_image - tf.bitcast(kept.nmsed_scores, tf.int32)
    place = tf.where(valid, place, 0)
    return _Selection(
        boxes=kept.nmsed_boxes,
        scores=tf.gather(_merge_last_axes(sorted_scores), place, batch_dims=1),
        classes=place // num_boxes,
        rows=tf.gather(_merge_last_axes(sorted_rows), place, batch_dims=1),
        valid=valid,
    )


def _select_in_loop(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    score_threshold: float,
    iou_threshold: float,
    per_class: tf.Tensor | int,
    soft_nms_sigma: float,
) -> _Selection:
    """Greedy suppression, one box of every class of every image at each turn of a loop."""
    boxes = tf.transpose(boxes, [0, 2, 1, 3])  # [B, q, N, 4]
    scores = tf.transpose(scores, [0, 2, 1])  # [B, K, N]
    num_classes, num_boxes = _size(scores, 1), _size(scores, 2)
    boxes = tf.broadcast_to(boxes, [tf.shape(scores)[0], num_classes, num_boxes, 4])

    def lowered(scores, taken_box):
        overlap = box_ops.iou(taken_box, boxes)[..., 0, :]
        if soft_nms_sigma > 0:
            scores *= tf.exp(-0.5 / soft_nms_sigma * tf.square(overlap))
            return tf.where(scores > score_threshold, scores, float("-inf"))
        return tf.where(overlap > iou_threshold, float("-inf"), scores)

    def take_one(turn, scores, taken_scores, taken_rows):
        row = tf.argmax(scores, axis=-1, output_type=tf.int32)[..., tf.newaxis]  # [B, K, 1]
        slot = tf.range(per_class) == turn  # [S]
        taken_scores = tf.where(slot, tf.gather(scores, row, batch_dims=2), taken_scores)
        taken_rows = tf.where(slot, row, taken_rows)
        itself = tf.range(num_boxes) == row
        scores = lowered(scores, tf.gather(boxes, row, batch_dims=2))
        return turn + 1, tf.where(itself, float("-inf"), scores), taken_scores, taken_rows

    slots = tf.stack([tf.shape(scores)[0], num_classes, per_class])
    state = (0, scores, tf.fill(slots, float("-inf")), tf.zeros(slots, tf.int32))
    _, _, taken_scores, taken_rows = tf.while_loop(
        lambda turn, scores, *_: (turn < per_class) & tf.reduce_any(scores > float("-inf")),
        take_one,
        state,
    )
    taken_boxes = tf.gather(boxes, taken_rows, batch_dims=2)
    classes = tf.broadcast_to(tf.range(num_classes)[:, tf.newaxis], tf.shape(taken_rows))
    return _Selection(
        boxes=tf.reshape(taken_boxes, [tf.shape(boxes)[0], -1, 4]),
        scores=_merge_last_axes(taken_scores),
        classes=_merge_last_axes(classes),
        rows=_merge_last_axes(taken_rows),
        valid=_merge_last_axes(taken_scores > float("-inf")),
    )


def _copy_per_class(
    taken: NmsResult, best_scores: tf.Tensor, best_classes: tf.Tensor, score_threshold: float
) -> _Selection:
    """The boxes of a class-agnostic suppression, once for each of their best classes [B, N, m].

    Soft suppression lowered the score of the best class; the others follow in proportion.
    """
    num_copies = best_scores.shape[-1]
    scores = tf.gather(best_scores, taken.indices, batch_dims=1)  # [B, D, m]
    lowered = tf.math.divide_no_nan(taken.scores[..., tf.newaxis], scores[..., :1])
    scores = tf.concat([taken.scores[..., tf.newaxis], scores[..., 1:] * lowered], axis=-1)
    exists = tf.sequence_mask(taken.num_detections, _size(taken.scores, 1))[..., tf.newaxis]
    return _Selection(
        boxes=tf.repeat(taken.boxes, num_copies, axis=1),
        scores=_merge_last_axes(scores),
        classes=_merge_last_axes(tf.gather(best_classes, taken.indices, batch_dims=1)),
        rows=tf.repeat(taken.indices, num_copies, axis=1),
        valid=_merge_last_axes(exists & (scores > score_threshold)),
    )


def _finish(
    selection: _Selection,
    max_total_size: int,
    clip_window: tf.Tensor | None,
    change_coordinate_frame: bool,
    additional_fields: Mapping[str, tf.Tensor] | None,
) -> NmsResult:
    """Clip, drop what is left without area, keep the best of all classes, pad, change frame."""
    boxes, valid = selection.boxes, selection.valid
    if clip_window is not None:
        clip_window = tf.cast(clip_window, boxes.dtype)
        boxes = box_ops.clip_to_window(boxes, clip_window)
        valid &= box_ops.area(boxes) > 0
    num_kept = _smallest(max_total_size, _size(valid, 1))
    sort_keys = tf.where(valid, selection.scores, float("-inf"))
    scores, slots = tf.math.top_k(sort_keys, num_kept)
    # A score of -inf is no candidate, so the valid ones are exactly the first ones.
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
        for name, field in (additional_fields or {}).items()
    }
    num_detections = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1)
    return NmsResult(
        padded(boxes), padded(scores), padded(classes), num_detections, padded(rows), fields
    )


def _mask_and_pad(values: tf.Tensor, valid: tf.Tensor, size: int) -> tf.Tensor:
    """Values [B, n, ...] with zeros where not valid [B, n] and up to [B, size, ...]."""
    rank = values.shape.rank
    valid = tf.reshape(valid, tf.concat([tf.shape(valid), [1] * (rank - 2)], axis=0))
    values = tf.where(valid, values, tf.zeros([], values.dtype))
    paddings = [[0, 0], [0, size - _size(values, 1)], *[[0, 0]] * (rank - 2)]
    return tf.ensure_shape(
        tf.pad(values, paddings), [values.shape[0], size, *values.shape[2:]]
    )


def _only_candidates(
    scores: tf.Tensor, score_threshold: float, num_valid_boxes: tf.Tensor | None
) -> tf.Tensor:
    """Scores with -inf for whatever may not be detected; a score that is not a number, too."""
    candidates = scores > score_threshold
    if num_valid_boxes is not None:
        candidates &= tf.sequence_mask(num_valid_boxes, _size(scores, 1))[..., tf.newaxis]
    return tf.where(candidates, scores, float("-inf"))


def _ranks(sorted_rows: tf.Tensor) -> tf.Tensor:
    """Inverse of permutations [B, K, N] along the last axis: the rank of each row."""
    shape = tf.shape(sorted_rows)
    starts = tf.range(shape[0] * shape[1]) * shape[2]
    starts = tf.reshape(starts, [shape[0], shape[1], 1])
    inverse = tf.math.invert_permutation(tf.reshape(sorted_rows + starts, [-1]))
    return tf.reshape(inverse, shape) - starts


def _merge_last_axes(values: tf.Tensor) -> tf.Tensor:
    """[B, m, n] -> [B, m * n]."""
    return tf.reshape(values, [tf.shape(values)[0], _size(values, 1) * _size(values, 2)])


def _size(values: tf.Tensor, axis: int) -> tf.Tensor | int:
    """Size of an axis, as an integer where it is known."""
    return values.shape[axis] if values.shape[axis] is not None else tf.shape(values)[axis]


def _smallest(first: tf.Tensor | int, second: tf.Tensor | int) -> tf.Tensor | int:
    if isinstance(first, int) and isinstance(second, int):
        return min(first, second)
    return tf.minimum(first, second)


def _check(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    clip_window: tf.Tensor | None,
    change_coordinate_frame: bool,
) -> None:
    if change_coordinate_frame and clip_window is None:
        raise ValueError(
            "non-maximum suppression: change_coordinate_frame is set but there is no clip_window "
            "to be the new frame; pass clip_window."
        )
    if boxes.shape.rank != 4 or scores.shape.rank != 3:
        raise ValueError(
            f"non-maximum suppression: boxes have shape {boxes.shape} and scores {scores.shape}, "
            "expected [batch, boxes, 1 or classes, 4] and [batch, boxes, classes]."
        )
    if boxes.shape[2] not in (1, scores.shape[2]):
        raise ValueError(
            f"non-maximum suppression: boxes {boxes.shape} hold {boxes.shape[2]} boxes per "
            f"candidate, expected 1 or one for each of the {scores.shape[2]} classes."
        )
