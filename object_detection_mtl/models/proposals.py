"""From the first stage's outputs to the proposals that the second stage reads.

Shape letters: B batch, A anchors, P proposals, S sampled proposals. Boxes are in absolute pixels of
the inputs.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.fields import Predictions
from object_detection_mtl.models import box_classifier, frames, rpn
from object_detection_mtl.models.postprocess import ProposalSelection, select_proposals
from object_detection_mtl.ops import boxes as box_ops

Tensors = dict[str, tf.Tensor]


def count_anchors(
    predictions: Tensors, windows: tf.Tensor, *, cut: bool, offset: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """For training: anchors, which of them count [B, A], and both as predictions.

    Args:
        predictions: with the anchors [A, 4].
        windows: [B, 4] the true images.
        cut, offset: see `rpn.usable_anchors`.
    """
    anchors, counts = rpn.usable_anchors(
        predictions[Predictions.anchors], windows, cut=cut, offset=offset
    )
    return anchors, counts, {Predictions.anchors: anchors, Predictions.anchors_inside: counts}


def cut_anchors(
    predictions: Tensors, windows: tf.Tensor, *, offset: tuple[float, float]
) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
    """The same for detecting: cut at the image, or as a prediction at the inputs' border."""
    anchors = predictions[Predictions.anchors]
    inputs_window = frames.inputs_window(predictions[Predictions.image_shape])
    extra = {Predictions.anchors: box_ops.clip_to_window(anchors, inputs_window)}
    return *rpn.usable_anchors(anchors, windows, cut=True, offset=offset), extra


def propose(
    predictions: Tensors,
    anchors: tf.Tensor,
    usable: tf.Tensor,
    windows: tf.Tensor,
    selection: ProposalSelection,
) -> Tensors:
    """The first stage's best boxes [B, P, 4], their scores [B, P] and number [B]; no gradient."""
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


def sample(
    predictions: Tensors,
    groundtruth: box_classifier.AbsoluteGroundtruth,
    sampling: box_classifier.ProposalSampling,
    seed: tf.Tensor,
) -> Tensors:
    """S of the proposals of `propose`, for training; seed is int32 [2]."""
    boxes, scores, count = box_classifier.sample_proposals(
        predictions[Predictions.proposal_boxes],
        predictions[Predictions.proposal_scores],
        predictions[Predictions.num_proposals],
        groundtruth,
        sampling,
        seed,
    )
    return {
        Predictions.proposal_boxes: boxes,
        Predictions.proposal_scores: scores,
        Predictions.num_proposals: count,
    }
