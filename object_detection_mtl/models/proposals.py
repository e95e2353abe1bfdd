"""First-stage proposals: anchor selection, decoding, suppression, sampling.

Shape letters: B batch, A anchors, P proposals, S sampled proposals, G padded ground-truth boxes.
Boxes are in absolute pixels of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.fields import Predictions
from object_detection_mtl.models import box_classifier, coordinate_frames
from object_detection_mtl.models.postprocess import NEVER, clip_candidates
from object_detection_mtl.ops import box_coder, nms, sampler
from object_detection_mtl.ops import boxes as box_ops

Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class ProposalSelection:
    """Non-maximum suppression of the first stage; see `postprocess.DetectionSelection`."""

    max_proposals: int = 300
    score_threshold: float = 0.0
    iou_threshold: float = 0.7
    clip_before_nms: bool = False


@dataclass(frozen=True)
class ProposalSampling:
    """Sampling of the proposals that the second stage trains on.

    Attributes:
        batch_size: maximum number of proposals of an image.
        positive_fraction: maximum fraction of positive proposals.
        matched_threshold: minimum IoU of a positive proposal with a ground-truth box.
    """

    batch_size: int = 64
    positive_fraction: float = 0.25
    matched_threshold: float = 0.5


# Anchors ----------------------------------------------------------------------------------------


def select_usable_anchors(
    anchors: tf.Tensor,
    windows: tf.Tensor,
    *,
    clip: bool,
    offset: tuple[float, float] = (0.0, 0.0),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the anchors and which of them are used [B, A].

    Args:
        anchors: [A, 4] absolute pixels.
        windows: [B, 4] the true images.
        clip: clip anchors to the image, so that every image has its own [B, A, 4]; those without
            area in it are not used. Otherwise anchors stay as they are, and those that cross the
            border are not used.
        offset: (y, x) pixels from a cell of the feature map to the center of its anchors.
    """
    if not clip:
        return anchors, box_ops.is_inside_window(anchors[tf.newaxis], windows)
    clipped = box_ops.clip_to_window(anchors[tf.newaxis], windows)
    # Anchors of a cell in the padding may reach into the image. They are not used either: an image
    # alone has no such cell. Cells and sides are whole numbers, anchors' centers not exactly.
    cells = (anchors[:, :2] + anchors[:, 2:]) / 2.0 - offset
    on_image = tf.reduce_all(cells < windows[:, tf.newaxis, 2:] - 0.5, axis=-1)
    return clipped, on_image & (box_ops.area(clipped) > 0)


def select_training_anchors(
    predictions: Tensors, windows: tf.Tensor, *, clip: bool, offset: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """Return the anchors, which of them are used [B, A], and both as predictions.

    Args:
        predictions: with the anchors [A, 4].
        windows: [B, 4] the true images.
        clip: see `select_usable_anchors`.
        offset: see `select_usable_anchors`.
    """
    anchors, usable = select_usable_anchors(
        predictions[Predictions.anchors], windows, clip=clip, offset=offset
    )
    return anchors, usable, {Predictions.anchors: anchors, Predictions.anchors_inside: usable}


def select_inference_anchors(
    predictions: Tensors, windows: tf.Tensor, *, offset: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """Return the same for inference.

    Proposals come from anchors that are clipped to the true image; the predicted anchors are
    clipped to the inputs, padding included.
    """
    anchors = predictions[Predictions.anchors]
    inputs_window = coordinate_frames.inputs_window(predictions[Predictions.image_shape])
    extra = {Predictions.anchors: box_ops.clip_to_window(anchors, inputs_window)}
    return *select_usable_anchors(anchors, windows, clip=True, offset=offset), extra


# Proposals --------------------------------------------------------------------------------------


def select_proposals(
    box_encodings: tf.Tensor,
    objectness_logits: tf.Tensor,
    anchors: tf.Tensor,
    windows: tf.Tensor,
    usable: tf.Tensor,
    selection: ProposalSelection,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decode the first stage's outputs and keep the best boxes that do not overlap.

    Args:
        box_encodings: [B, A, 4].
        objectness_logits: [B, A, 2].
        anchors: [A, 4] or [B, A, 4].
        windows: [B, 4] the true images; proposals are clipped to them.
        usable: [B, A] bool, anchors that may propose.
        selection: thresholds and the cap P.

    Returns:
        proposals [B, P, 4] by descending score, zero padded; scores [B, P]; their number [B] int32.
    """
    if anchors.shape.rank == 2:
        anchors = anchors[tf.newaxis]
    boxes = box_coder.decode(box_encodings, anchors)[:, :, tf.newaxis]
    scores = tf.nn.softmax(objectness_logits)[..., 1:]
    scores = tf.where(usable[..., tf.newaxis], scores, NEVER)
    if selection.clip_before_nms:
        boxes, scores = clip_candidates(boxes, scores, windows)
    result = nms.batch_multiclass_nms(
        boxes,
        scores,
        score_threshold=selection.score_threshold,
        iou_threshold=selection.iou_threshold,
        max_size_per_class=selection.max_proposals,
        max_total_size=selection.max_proposals,
        clip_window=windows,
    )
    return result.boxes, result.scores, result.num_detections


def propose(
    predictions: Tensors,
    anchors: tf.Tensor,
    usable: tf.Tensor,
    windows: tf.Tensor,
    selection: ProposalSelection,
) -> Tensors:
    """Return the proposals [B, P, 4], their scores [B, P] and number [B], without gradient."""
    boxes, scores, count = select_proposals(
        predictions[Predictions.rpn_box_encodings],
        predictions[Predictions.rpn_objectness],
        anchors,
        windows,
        usable,
        selection,
    )
    return {
        Predictions.proposal_boxes: tf.stop_gradient(boxes),
        Predictions.proposal_scores: tf.stop_gradient(scores),
        Predictions.num_proposals: count,
    }


def sample_proposals(
    predictions: Tensors,
    groundtruth: box_classifier.AbsoluteGroundtruth,
    sampling: ProposalSampling,
    seed: sampler.Seed,
) -> Tensors:
    """Return a balanced random sample of each image's proposals, in their order.

    Args:
        predictions: with the proposals [B, P, 4], their scores [B, P] and number [B].
        groundtruth: decides which proposals are positive.
        sampling: size S and balance.
        seed: see `sampler.sample_balanced`.

    Returns:
        The same keys: proposals [B, S, 4] and scores [B, S], zero padded, and their number [B].
    """
    boxes = predictions[Predictions.proposal_boxes]
    assigned = box_classifier.assign(
        boxes, predictions[Predictions.num_proposals], groundtruth, sampling.matched_threshold
    )
    chosen = sampler.sample_balanced(
        assigned.class_weights > 0,
        assigned.class_targets[..., 0] < 0.5,
        batch_size=sampling.batch_size,
        positive_fraction=sampling.positive_fraction,
        seed=seed,
    )
    size = min(sampling.batch_size, boxes.shape[1])
    # A stable sort moves the chosen rows to the front and keeps their order.
    front = tf.argsort(tf.cast(~chosen, tf.int32), axis=1, stable=True)[:, :size]
    kept = tf.gather(tf.cast(chosen, tf.float32), front, batch_dims=1)
    scores = tf.gather(predictions[Predictions.proposal_scores], front, batch_dims=1)
    return {
        Predictions.proposal_boxes: tf.gather(boxes, front, batch_dims=1) * kept[..., tf.newaxis],
        Predictions.proposal_scores: scores * kept,
        Predictions.num_proposals: tf.reduce_sum(tf.cast(chosen, tf.int32), axis=1),
    }
