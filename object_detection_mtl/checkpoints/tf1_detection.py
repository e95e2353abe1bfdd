"""TF1 detection checkpoints of the OD API and of the authors: which variable is which.

A TF1 graph names its variables `FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights` and so on
(the files have no object graph). All layouts are the same here and there: convolutions
[height, width, in, out], depthwise [height, width, channels, 1], linear layers [in, out].
"""

from __future__ import annotations

from typing import Any

import keras

from object_detection_mtl.backbones.common import tf_slim_name_map


def name_map(detector: Any) -> dict[str, keras.Variable]:
    """TF1 variable name -> variable, for every variable of a detector.

    Args:
        detector: a `TwoStageDetector`.
    """
    scope = detector.backbone.slim_scope
    head = detector.second_stage.head
    names = tf_slim_name_map(detector.feature_extractor, f"FirstStageFeatureExtractor/{scope}")
    rpn = detector.region_proposals
    names |= linear_names(rpn.name, (rpn.conv, rpn.box_head, rpn.class_head))
    names |= tf_slim_name_map(head.stage2, f"SecondStageFeatureExtractor/{scope}")
    predictor = head.predictor
    names |= linear_names(predictor.name, predictor.linear_layers)
    return names


def linear_names(
    prefix: str, layers: tuple[keras.layers.Layer | None, ...]
) -> dict[str, keras.Variable]:
    """`<prefix>/<layer>/weights` and `/biases` of convolutions and linear layers."""
    names: dict[str, keras.Variable] = {}
    for layer in layers:
        if layer is not None:
            names[f"{prefix}/{layer.name}/weights"] = layer.kernel
            if layer.bias is not None:
                names[f"{prefix}/{layer.name}/biases"] = layer.bias
    return names
