"""Greedy suppression kernels for batches of boxes.

Shape letters: B batch, N candidate boxes, K classes without background, q boxes per candidate
(1 shared by all classes, or K), S most boxes kept per class, T = K * S.

`nms` prepares the candidates (a score of -inf is not a candidate) and finishes the selection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from object_detection_mtl.ops import boxes as box_ops
from object_detection_mtl.ops.tensor_shapes import Size, merge_last_axes, size

# Bit pattern of the smallest normal float32. The floats with this and greater patterns are positive
# and ordered like the integers with the same bits.
_SMALLEST_NORMAL = 0x00800000


class Selection(NamedTuple):
    """Boxes that suppression kept, by class, then by descending score; not clipped yet."""

    boxes: tf.Tensor  # [B, T, 4]
    scores: tf.Tensor  # [B, T]
    classes: tf.Tensor  # [B, T] int32
    rows: tf.Tensor  # [B, T] int32
    valid: tf.Tensor  # [B, T] bool


def select_by_kernel(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, per_class: Size
) -> Selection:
    """Select boxes by TensorFlow's batched kernel.

    The kernel returns boxes and scores but not rows, has no defined order for equal scores, and
    truncates before clipping. So its input is not the scores but distinct codes, which encode the
    rank of each score, its class and its row.
    """
    num_boxes, num_classes = size(scores, 1), size(scores, 2)
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
    return Selection(
        boxes=kept.nmsed_boxes,
        scores=tf.gather(merge_last_axes(sorted_scores), place, batch_dims=1),
        classes=place // num_boxes,
        rows=tf.gather(merge_last_axes(sorted_rows), place, batch_dims=1),
        valid=valid,
    )


def select_class_by_class(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, per_class: Size
) -> Selection:
    """Select boxes by ONNX's kernel: one box per candidate, no bit codes.

    Each class of each image is treated as an image of one class. Its boxes are sorted, and the
    scores are ranks counted from the end, exact in float32 up to 16 million boxes.
    """
    num_boxes, num_classes = size(scores, 1), size(scores, 2)
    boxes, scores = _images_of_one_class(boxes, scores)
    scores, rows = tf.math.top_k(scores, num_boxes)
    boxes = tf.gather(boxes, rows, batch_dims=1)
    places = tf.range(num_boxes, 0, -1)
    codes = tf.where(scores > float("-inf"), tf.cast(places, tf.float32), 0.0)
    kept = _suppress_one_class(boxes, codes, iou_threshold, per_class)
    valid = kept.nmsed_scores > 0
    place = tf.where(valid, num_boxes - tf.cast(kept.nmsed_scores, tf.int32), 0)
    scores, rows = (tf.gather(values, place, batch_dims=1) for values in (scores, rows))
    return _of_images(kept.nmsed_boxes, scores, rows, valid, num_classes)


def select_by_openvino(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, per_class: Size
) -> Selection:
    """Select boxes by OpenVINO's kernel, which sorts faster than `top_k`.

    TensorFlow has no equivalent operation. One of TensorFlow's is a placeholder, whose translation
    by `openvino_conversion` returns rows instead of classes, and scores of -inf in padding.
    """
    num_classes = size(scores, 2)
    boxes, scores = _images_of_one_class(boxes, scores)
    kept = _suppress_one_class(boxes, scores, iou_threshold, per_class)
    rows = tf.cast(kept.nmsed_classes, tf.int32)
    valid = kept.nmsed_scores > float("-inf")
    return _of_images(kept.nmsed_boxes, kept.nmsed_scores, rows, valid, num_classes)


def _images_of_one_class(boxes: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return boxes [B, N, q, 4], scores [B, N, K] as [B * K, N, 4] and [B * K, N]."""
    boxes = tf.transpose(boxes, [0, 2, 1, 3])  # [B, q, N, 4]
    scores = tf.transpose(scores, [0, 2, 1])  # [B, K, N]
    batch, num_classes, num_boxes = tf.shape(scores)[0], size(scores, 1), size(scores, 2)
    boxes = tf.broadcast_to(boxes, [batch, num_classes, num_boxes, 4])
    return tf.reshape(boxes, [-1, num_boxes, 4]), tf.reshape(scores, [-1, num_boxes])


def _suppress_one_class(
    boxes: tf.Tensor, scores: tf.Tensor, iou_threshold: float, per_class: Size
) -> Any:
    """Apply the combined kernel to boxes [R, N, 4] and scores [R, N] of one class."""
    return tf.raw_ops.CombinedNonMaxSuppression(
        boxes=boxes[:, :, tf.newaxis],
        scores=scores[..., tf.newaxis],
        max_output_size_per_class=per_class,
        max_total_size=per_class,
        iou_threshold=iou_threshold,
        score_threshold=0.0,
        pad_per_class=False,
        clip_boxes=False,
    )


def _of_images(
    boxes: tf.Tensor, scores: tf.Tensor, rows: tf.Tensor, valid: tf.Tensor, num_classes: Size
) -> Selection:
    """Return what was kept per image and class, [B * K, S, ...], per image, [B, K * S, ...]."""
    per_class = size(scores, 1)
    batch = tf.shape(scores)[0] // num_classes
    classes = tf.range(num_classes)[tf.newaxis, :, tf.newaxis]
    classes = tf.broadcast_to(classes, [batch, num_classes, per_class])

    def of_image(values: tf.Tensor, *last: int) -> tf.Tensor:
        return tf.reshape(values, [batch, num_classes * per_class, *last])

    return Selection(
        boxes=of_image(boxes, 4),
        scores=of_image(scores),
        classes=of_image(classes),
        rows=of_image(rows),
        valid=of_image(valid),
    )


def select_in_loop(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    score_threshold: float,
    iou_threshold: float,
    per_class: Size,
    soft_nms_sigma: float,
) -> Selection:
    """Select boxes in a loop, one of each class of each image at a time."""
    boxes = tf.transpose(boxes, [0, 2, 1, 3])  # [B, q, N, 4]
    scores = tf.transpose(scores, [0, 2, 1])  # [B, K, N]
    num_classes, num_boxes = size(scores, 1), size(scores, 2)
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
    return Selection(
        boxes=tf.reshape(taken_boxes, [tf.shape(boxes)[0], -1, 4]),
        scores=merge_last_axes(taken_scores),
        classes=merge_last_axes(classes),
        rows=merge_last_axes(taken_rows),
        valid=merge_last_axes(taken_scores > float("-inf")),
    )


def _ranks(sorted_rows: tf.Tensor) -> tf.Tensor:
    """Return the inverse of permutations [B, K, N] along the last axis: the rank of each row."""
    shape = tf.shape(sorted_rows)
    starts = tf.range(shape[0] * shape[1]) * shape[2]
    starts = tf.reshape(starts, [shape[0], shape[1], 1])
    inverse = tf.math.invert_permutation(tf.reshape(sorted_rows + starts, [-1]))
    return tf.reshape(inverse, shape) - starts
