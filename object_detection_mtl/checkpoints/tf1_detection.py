"""TF1 detection checkpoints of the OD API and the authors: variable names.

A TF1 graph names its variables `FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights` and so on
(the files have no object graph). The layouts are the same in both: convolutions
[height, width, in, out], depthwise [height, width, channels, 1], linear layers [in, out].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.checkpoints import restore_plan
from object_detection_mtl.checkpoints.checkpoint_files import CheckpointFile
from object_detection_mtl.predictors.predictor_layers import linear_names

AVERAGE_SUFFIX = "/ExponentialMovingAverage"
# Variables of optimizers and of the training loop.
OF_TRAINING = re.compile(
    rf"(^|/)global_step$|{AVERAGE_SUFFIX}$|/(Momentum|RMSProp(_1)?|Adam(_1)?|Adagrad)$"
    r"|^beta[12]_power"
)
# The first convolution of the region proposals: here and in the authors' files, in the OD API's.
RPN_CONV = "FirstStageBoxPredictor/Conv/"
OD_API_RPN_CONV = "Conv/"


def name_map(detector: Any) -> dict[str, keras.Variable]:
    """Return TF1 variable name -> variable, for every variable of a detector.

    Args:
        detector: a `TwoStageDetector`.
    """
    scope = detector.backbone.scope
    names = checkpoint_names(detector.feature_extractor, f"FirstStageFeatureExtractor/{scope}")
    rpn = detector.region_proposals
    names |= linear_names(rpn.name, (rpn.conv, rpn.box_head, rpn.class_head))
    if detector.second_stage is not None:
        head = detector.second_stage.head
        names |= checkpoint_names(head.stage2, f"SecondStageFeatureExtractor/{scope}")
        names |= linear_names(head.predictor.name, head.predictor.linear_layers)
    for part in detector.auxiliary_parts:
        names |= part.tf1_variables()
    if detector.loss_balance is not None:
        names |= detector.loss_balance.tf1_variables()
    return names


def is_detector(checkpoint: CheckpointFile) -> bool:
    """Return whether a TF1 training of a detector wrote the checkpoint."""
    return not checkpoint.is_object_based and bool(networks(checkpoint))


def networks(checkpoint: CheckpointFile) -> set[str]:
    """Return the feature extractor's network, such as `resnet_v1_101`."""
    start = restore_plan.FIRST_STAGE
    return {key.split("/")[1] for key in checkpoint.shapes if key.startswith(start)}


def _stored_name(checkpoint: CheckpointFile, name: str) -> str:
    """Return the name of a detector's variable in the file; the OD API has no scope around Conv."""
    if name.startswith(RPN_CONV) and name not in checkpoint.shapes:
        return OD_API_RPN_CONV + name.removeprefix(RPN_CONV)
    return name


def _plan(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan by equal names, without a root."""
    restore_plan.require_detection(checkpoint, request)
    network = restore_plan.network_of(names)
    restore_plan.require_network(checkpoint, networks(checkpoint), network)
    has_averages = any(key.endswith(AVERAGE_SUFFIX) for key in checkpoint.shapes)
    restore_plan.require_averages(checkpoint, has_averages, request)
    wanted = restore_plan.detector_names(names, request)
    stored = {name: _stored_name(checkpoint, known_as) for name, known_as in wanted.items()}
    keys = {name: (key, key + AVERAGE_SUFFIX) for name, key in stored.items()}
    return restore_plan.RestorePlan(
        description=f"{SOURCE.title} with {network}",
        values=restore_plan.stored_values(checkpoint, keys, request),
        wanted=frozenset(wanted),
        weights=frozenset(key for key in checkpoint.shapes if not OF_TRAINING.search(key)),
    )


SOURCE = restore_plan.CheckpointSource(
    title="TF1 detection checkpoint",
    recognizes=is_detector,
    networks=networks,
    is_detector=lambda checkpoint: True,
    plan=_plan,
)
