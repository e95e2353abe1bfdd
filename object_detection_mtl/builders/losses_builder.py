"""`ClassificationLoss` -> the second stage's classification loss."""

from __future__ import annotations

import functools

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
    if kind == "weighted_softmax":
        return functools.partial(
            loss_ops.softmax_cross_entropy, logit_scale=config.weighted_softmax.logit_scale
        )
    raise ValueError(
        f"second_stage_classification_loss {{ {kind} }} is not supported; use weighted_softmax"
    )
