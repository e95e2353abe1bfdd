"""`FasterRcnnFeatureExtractor` -> a backbone."""

from __future__ import annotations

from collections.abc import Callable

from object_detection_mtl.backbones import mobilenet_v1
from object_detection_mtl.backbones.common import Backbone
from object_detection_mtl.protos import faster_rcnn_pb2


def _mobilenet_v1(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> Backbone:
    if config.first_stage_features_stride != 16:
        raise ValueError(
            "feature_extractor: first_stage_features_stride is "
            f"{config.first_stage_features_stride}; MobileNet v1 supports 16 only"
        )
    return mobilenet_v1.build(
        weight_decay=config.weight_decay,
        batch_norm_trainable=config.batch_norm_trainable,
        trainable=config.trainable,
    )


# Canonical type names, as config/dialects.py resolves them.
BUILDERS: dict[str, Callable[[faster_rcnn_pb2.FasterRcnnFeatureExtractor], Backbone]] = {
    "faster_rcnn_mobilenet_v1": _mobilenet_v1,
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
