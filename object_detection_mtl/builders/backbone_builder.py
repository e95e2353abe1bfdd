"""`FasterRcnnFeatureExtractor` -> a backbone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from object_detection_mtl.backbones import inception_resnet_v2, mobilenet_v1, resnet_v1
from object_detection_mtl.backbones.common import Backbone
from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.protos import faster_rcnn_pb2

BackboneBuilder = Callable[[faster_rcnn_pb2.FasterRcnnFeatureExtractor], Backbone]

_logger = logging.getLogger(__name__)


def _mobilenet_v1(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
    if config.first_stage_features_stride != 16:
        raise ValueError(
            "feature_extractor: first_stage_features_stride is "
            f"{config.first_stage_features_stride}; MobileNet v1 supports 16 only"
        )
    return mobilenet_v1.build(
        depth_multiplier=config.depth_multiplier,
        min_depth=config.min_depth,
        conv_depth_ratio=config.conv_depth_ratio_in_percentage / 100.0,
        skip_last_stride=config.skip_last_stride,
        regularizer=_regularizer(config),
        layer_options=_layer_options(config),
        batch_norm_trainable=config.batch_norm_trainable,
        trainable=config.trainable,
    )


def _inception_resnet_v2(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
    return inception_resnet_v2.build(
        output_stride=config.first_stage_features_stride,
        regularizer=_regularizer(config),
        batch_norm_trainable=config.batch_norm_trainable,
        trainable=config.trainable,
        layer_options=_layer_options(config),
    )


def _resnet_v1(num_layers: int, *, keras_form: bool = False) -> BackboneBuilder:
    def build_resnet(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
        return resnet_v1.build(
            num_layers=num_layers,
            output_stride=config.first_stage_features_stride,
            regularizer=_regularizer(config),
            batch_norm_trainable=config.batch_norm_trainable,
            trainable=config.trainable,
            keras_form=keras_form,
            frozen_blocks=int(config.freeze_layer[-1]) if config.freeze_layer else 0,
            layer_options=_layer_options(config),
        )

    return build_resnet


def _regularizer(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> dict[str, Any] | None:
    """`weight_decay`, or where the config overrides the network's own, conv_hyperparams'."""
    if config.override_base_feature_extractor_hyperparams:
        return hyperparams_builder.regularizer(config.conv_hyperparams.regularizer)
    return hyperparams_builder.l2(config.weight_decay) if config.weight_decay else None


def _layer_options(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> dict[str, Any]:
    """What conv_hyperparams replaces of the network's own, if the config asks for it."""
    if not config.override_base_feature_extractor_hyperparams:
        if config.HasField("conv_hyperparams"):
            _logger.warning(
                "feature_extractor: conv_hyperparams act only with "
                "override_base_feature_extractor_hyperparams: true; the network keeps its own"
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


# Canonical type names, as config/dialects.py resolves them.
BUILDERS: dict[str, BackboneBuilder] = {
    "faster_rcnn_inception_resnet_v2": _inception_resnet_v2,
    # Keras builds the same network.
    "faster_rcnn_inception_resnet_v2_keras": _inception_resnet_v2,
    "faster_rcnn_mobilenet_v1": _mobilenet_v1,
    "faster_rcnn_resnet50": _resnet_v1(50),
    "faster_rcnn_resnet101": _resnet_v1(101),
    "faster_rcnn_resnet152": _resnet_v1(152),
    "faster_rcnn_resnet50_keras": _resnet_v1(50, keras_form=True),
    "faster_rcnn_resnet101_keras": _resnet_v1(101, keras_form=True),
    "faster_rcnn_resnet152_keras": _resnet_v1(152, keras_form=True),
}


def build(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
    """The backbone of a feature extractor's `type`.

    Raises:
        ValueError: a type that is not built.
    """
    if config.type not in BUILDERS:
        raise ValueError(
            f"feature_extractor: type {config.type!r} is not supported; "
            f"supported: {', '.join(sorted(BUILDERS))}"
        )
    return BUILDERS[config.type](config)
