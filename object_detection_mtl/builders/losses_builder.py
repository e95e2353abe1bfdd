"""`ClassificationLoss` -> the second stage's classification loss."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.models.box_classifier import ClassificationLoss
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.protos import losses_pb2


def classification_loss(config: losses_pb2.ClassificationLoss) -> ClassificationLoss:
    """(logits [B, P, K + 1], targets, weights [B, P]) -> [B, P]; softmax when none is named.

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
    """[B, P, K + 1] -> [B, P]; background is a class like the others."""
    return lambda *arguments: tf.reduce_sum(loss(*arguments), axis=-1)


_LOSSES: dict[str, Callable[..., ClassificationLoss]] = {
    "weighted_softmax": _softmax,
    "weighted_sigmoid": _sigmoid,
    "weighted_sigmoid_focal": _focal,
}
