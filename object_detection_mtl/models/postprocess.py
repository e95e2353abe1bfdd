"""Post-processing: decoding, scores and suppression of detections.

Shape letters: B batch, A anchors, P proposals, K classes without background, D detections.
Boxes are in absolute pixels of the inputs unless stated otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.fields import Detections, Predictions
from object_detection_mtl.ops import box_coder, nms
from object_detection_mtl.ops import boxes as box_ops

ScoreConverter = Callable[[tf.Tensor], tf.Tensor]

# Below every score threshold: a box with this score is never selected.
NEVER = float("-inf")


@dataclass(frozen=True)
class DetectionSelection:
    """Scores and non-maximum suppression of the second stage.

    Attributes:
        score_converter: class logits [.., K + 1] -> scores.
        score_threshold: scores of detections are strictly greater.
        iou_threshold: a box with a greater IoU with a better box of its class is dropped.
        max_per_class, max_total: caps of one image.
        soft_nms_sigma: > 0 decays the scores of overlapping boxes instead of dropping them.
        class_agnostic: suppress boxes of all classes together; max_per_class is not used.
        max_classes_per_detection: number of reported classes of a box, with class_agnostic.
        clip_before_nms: clip boxes to the image before overlaps are measured (TF1, the authors)
            instead of afterwards (the OD API in TF2).
    """

    score_converter: ScoreConverter = tf.nn.softmax
    score_threshold: float = 0.0
    iou_threshold: float = 0.6
    max_per_class: int = 100
    max_total: int = 300
    soft_nms_sigma: float = 0.0
    class_agnostic: bool = False
    max_classes_per_detection: int = 1
    clip_before_nms: bool = False


def select_detections(
    refined_box_encodings: tf.Tensor,
    class_logits: tf.Tensor,
    proposals: tf.Tensor,
    num_proposals: tf.Tensor,
    windows: tf.Tensor,
    selection: DetectionSelection,
) -> dict[str, tf.Tensor]:
    """Decode the second stage's outputs into detections, normalized to the true image.

    Args:
        refined_box_encodings: [B, P, K, 4], or [B, P, 1, 4] when the classes share a box.
        class_logits: [B, P, K + 1].
        proposals: [B, P, 4].
        num_proposals: [B].
        windows: [B, 4] the true images.
        selection: score converter, thresholds and caps.

    Returns:
        The keys of `fields.Detections`; classes are 0-based float32, rows beyond
        num_detections are zero.
    """
    boxes = box_coder.decode(refined_box_encodings, proposals[:, :, tf.newaxis])
    scores = selection.score_converter(class_logits)
    candidates, candidate_scores = boxes, scores[..., 1:]
    if selection.clip_before_nms:
        candidates, candidate_scores = clip_candidates(boxes, candidate_scores, windows)
    suppress = (
        functools.partial(
            nms.batch_class_agnostic_nms,
            max_classes_per_detection=selection.max_classes_per_detection,
        )
        if selection.class_agnostic
        else functools.partial(nms.batch_multiclass_nms, max_size_per_class=selection.max_per_class)
    )
    result = suppress(
        candidates,
        candidate_scores,
        score_threshold=selection.score_threshold,
        iou_threshold=selection.iou_threshold,
        max_total_size=selection.max_total,
        clip_window=windows,
        change_coordinate_frame=True,
        num_valid_boxes=num_proposals,
        additional_fields={Detections.multiclass_scores: scores},
        soft_nms_sigma=selection.soft_nms_sigma,
    )
    return {
        Detections.boxes: result.boxes,
        Detections.scores: result.scores,
        Detections.classes: result.classes,
        Detections.num_detections: tf.cast(result.num_detections, tf.float32),
        Detections.multiclass_scores: result.additional_fields[Detections.multiclass_scores],
        Detections.anchor_indices: tf.cast(result.indices, tf.float32),
        Detections.raw_boxes: best_class_boxes(boxes, scores, windows),
        Detections.raw_scores: scores,
    }


def proposals_as_detections(
    predictions: Mapping[str, tf.Tensor], windows: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return the proposals of a first stage alone as detections (objects of class 0).

    Args:
        predictions: those of the first stage (`fields.Predictions`).
        windows: [B, 4] the true images.
    """
    proposals = predictions[Predictions.proposal_boxes]
    scores = predictions[Predictions.proposal_scores]
    num_proposals = predictions[Predictions.num_proposals]
    anchors = predictions[Predictions.anchors]
    box_encodings = predictions[Predictions.rpn_box_encodings]
    number = proposals.shape[1] or tf.shape(proposals)[1]
    valid = tf.sequence_mask(num_proposals, number, dtype=tf.float32)
    boxes = box_ops.change_coordinate_frame(proposals, windows) * valid[..., tf.newaxis]
    if anchors.shape.rank == 2:
        anchors = anchors[tf.newaxis]
    raw_boxes = box_ops.clip_to_window(box_coder.decode(box_encodings, anchors), windows)
    both = tf.stack([1.0 - scores, scores], axis=-1)
    return {
        Detections.boxes: boxes,
        Detections.scores: scores * valid,
        Detections.classes: tf.zeros_like(scores),
        Detections.num_detections: tf.cast(num_proposals, tf.float32),
        Detections.multiclass_scores: both * valid[..., tf.newaxis],
        Detections.anchor_indices: tf.range(number, dtype=tf.float32) * valid,
        Detections.raw_boxes: box_ops.change_coordinate_frame(raw_boxes, windows),
        Detections.raw_scores: tf.nn.softmax(predictions[Predictions.rpn_objectness]),
    }


def clip_candidates(
    boxes: tf.Tensor, scores: tf.Tensor, windows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Clip boxes [B, N, q, 4] to their image; mask the scores [B, N, K] of those without area."""
    clipped = box_ops.clip_to_window(boxes, windows[:, tf.newaxis])
    return clipped, tf.where(box_ops.area(clipped) > 0, scores, NEVER)


def best_class_boxes(boxes: tf.Tensor, scores: tf.Tensor, windows: tf.Tensor) -> tf.Tensor:
    """Return the box [B, P, 4] of each proposal's best foreground class, clipped and normalized."""
    if boxes.shape[2] == 1:
        chosen = boxes[:, :, 0]
    else:
        best = tf.argmax(scores[..., 1:], axis=-1, output_type=tf.int32)
        chosen = tf.gather(boxes, best, axis=2, batch_dims=2)
    clipped = box_ops.clip_to_window(chosen, windows)
    return box_ops.change_coordinate_frame(clipped, windows)
