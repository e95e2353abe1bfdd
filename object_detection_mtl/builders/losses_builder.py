"""`ClassificationLoss`, `HardExampleMiner` -> second-stage loss and miner."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.models.box_classifier import ClassificationLoss, HardExampleMiner
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops.hard_example_miner import mine_hard_examples
from object_detection_mtl.protos import faster_rcnn_pb2, losses_pb2

_LOSS_TYPES = {
    losses_pb2.HardExampleMiner.BOTH: "both",
    losses_pb2.HardExampleMiner.CLASSIFICATION: "cls",
    losses_pb2.HardExampleMiner.LOCALIZATION: "loc",
}


def classification_loss(config: losses_pb2.ClassificationLoss) -> ClassificationLoss:
    """Return a function (logits [B, P, K + 1], targets, weights [B, P]) -> [B, P].

    Raises:
        ValueError: a loss that two-stage detectors do not have.
    """
    kind = config.WhichOneof("classification_loss")
    if kind is None:
        return loss_ops.softmax_cross_entropy
    if kind not in _LOSSES:
        raise ValueError(
            f"second_stage_classification_loss {{ {kind} }} is not supported; "
            f"use {', '.join(_LOSSES)}"
        )
    return _LOSSES[kind](getattr(config, kind))


def hard_example_miner(config: faster_rcnn_pb2.FasterRcnn) -> HardExampleMiner | None:
    """Return a miner of hard proposals; None trains on a random sample."""
    if not config.HasField("hard_example_miner"):
        return None
    miner = config.hard_example_miner
    return functools.partial(
        mine_hard_examples,
        num_hard_examples=miner.num_hard_examples or None,
        iou_threshold=miner.iou_threshold,
        loss_type=_LOSS_TYPES[miner.loss_type],
        location_loss_weight=config.second_stage_localization_loss_weight,
        class_loss_weight=config.second_stage_classification_loss_weight,
        max_negatives_per_positive=miner.max_negatives_per_positive or None,
        min_negatives_per_image=miner.min_negatives_per_image,
    )


def _softmax(config: losses_pb2.WeightedSoftmaxClassificationLoss) -> ClassificationLoss:
    return functools.partial(loss_ops.softmax_cross_entropy, logit_scale=config.logit_scale)


def _sigmoid(_: losses_pb2.WeightedSigmoidClassificationLoss) -> ClassificationLoss:
    return _summed_over_classes(loss_ops.sigmoid_cross_entropy)


def _focal(config: losses_pb2.SigmoidFocalClassificationLoss) -> ClassificationLoss:
    alpha = config.alpha if config.HasField("alpha") else None
    return _summed_over_classes(
        functools.partial(loss_ops.sigmoid_focal, gamma=config.gamma, alpha=alpha)
    )


def _summed_over_classes(loss: ClassificationLoss) -> ClassificationLoss:
    """Return the sum [B, P] of losses [B, P, K + 1]; background is a class like the others."""
    return lambda *arguments: tf.reduce_sum(loss(*arguments), axis=-1)


_LOSSES: dict[str, Callable[..., ClassificationLoss]] = {
    "weighted_softmax": _softmax,
    "weighted_sigmoid": _sigmoid,
    "weighted_sigmoid_focal": _focal,
}
