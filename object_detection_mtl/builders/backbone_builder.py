"""`FasterRcnnFeatureExtractor` -> a backbone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.backbone_checks import check_backbone
from object_detection_mtl.backbones.registry import BACKBONES, RegisteredBackbone
from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.protos import faster_rcnn_pb2

_logger = logging.getLogger(__name__)

# Config field that only some types have -> the argument of `build` and its value.
TYPE_ARGUMENTS: dict[
    str, tuple[str, Callable[[faster_rcnn_pb2.FasterRcnnFeatureExtractor], Any]]
] = {
    "conv_depth_ratio_in_percentage": (
        "conv_depth_ratio",
        lambda config: config.conv_depth_ratio_in_percentage / 100.0,
    ),
    "depth_multiplier": ("depth_multiplier", lambda config: config.depth_multiplier),
    "freeze_layer": (
        "frozen_blocks",
        lambda config: int(config.freeze_layer[-1]) if config.freeze_layer else 0,
    ),
    "min_depth": ("min_depth", lambda config: config.min_depth),
    "skip_last_stride": ("skip_last_stride", lambda config: config.skip_last_stride),
}


def build(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
    """Return the backbone of a feature extractor's `type`.

    Raises:
        ValueError: the type is not in the registry, or does not support the options; a registered
            backbone breaks the interface.
    """
    entry = BACKBONES.get(config.type)
    if entry is None:
        raise ValueError(
            f"feature_extractor: type {config.type!r} is not supported; "
            f"supported: {', '.join(sorted(BACKBONES))}"
        )
    of_type = dict(TYPE_ARGUMENTS[name] for name in entry.fields)
    backbone = entry.build(
        output_stride=config.first_stage_features_stride,
        regularizer=_regularizer(config),
        batch_norm_trainable=config.batch_norm_trainable,
        trainable=config.trainable,
        layer_options=_layer_options(config),
        **{argument: value_of(config) for argument, value_of in of_type.items()},
    )
    if isinstance(entry, RegisteredBackbone):
        check_backbone(
            config.type, backbone, config.first_stage_features_stride, entry.smallest_crop
        )
    return backbone


def _regularizer(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> dict[str, Any] | None:
    """Return the regularizer of `weight_decay`, or of conv_hyperparams if these override it."""
    if config.override_base_feature_extractor_hyperparams:
        return hyperparams_builder.regularizer(config.conv_hyperparams.regularizer)
    return hyperparams_builder.l2(config.weight_decay) if config.weight_decay else None


def _layer_options(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> dict[str, Any]:
    """Return the layer options of conv_hyperparams, if the config overrides the network's own."""
    if not config.override_base_feature_extractor_hyperparams:
        if config.HasField("conv_hyperparams"):
            _logger.warning(
                "feature_extractor: conv_hyperparams are ignored without "
                "override_base_feature_extractor_hyperparams: true"
            )
        return {}
    hyperparams = config.conv_hyperparams
    options: dict[str, Any] = {"activation": hyperparams_builder.activation(hyperparams)}
    if hyperparams.HasField("initializer"):
        options["kernel_initializer"] = hyperparams_builder.initializer(hyperparams.initializer)
    if hyperparams.HasField("batch_norm"):
        options["momentum"] = hyperparams.batch_norm.decay
        options["epsilon"] = hyperparams.batch_norm.epsilon
    return options
