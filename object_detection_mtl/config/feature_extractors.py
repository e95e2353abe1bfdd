"""Which feature extractors there are, and what is wrong with a message that asks for another.

Without a suffix a name means the backbone as TF-Slim builds it; `_keras`: as Keras does, which
places strides otherwise, so that weights do not fit both.
"""

from __future__ import annotations

from collections.abc import Iterator

from object_detection_mtl.config.errors import listing, suggestion
from object_detection_mtl.protos import faster_rcnn_pb2

# Canonical names.
BACKBONES = (
    "faster_rcnn_inception_resnet_v2",
    "faster_rcnn_inception_resnet_v2_keras",
    "faster_rcnn_mobilenet_v1",
    "faster_rcnn_resnet50",
    "faster_rcnn_resnet50_keras",
    "faster_rcnn_resnet101",
    "faster_rcnn_resnet101_keras",
    "faster_rcnn_resnet152",
    "faster_rcnn_resnet152_keras",
)
_STRIDE_16_ONLY = (
    "faster_rcnn_mobilenet_v1",
    "faster_rcnn_resnet50_keras",
    "faster_rcnn_resnet101_keras",
    "faster_rcnn_resnet152_keras",
)
# Their stage 2 begins with convolutions of 3x3 without padding.
_STAGE_2_OF_3X3 = ("faster_rcnn_inception_resnet_v2", "faster_rcnn_inception_resnet_v2_keras")
# Types of the Object Detection API and its forks that this package does not have.
_NOT_SUPPORTED = {
    "faster_rcnn_inception_v2": (
        "Inception v2 is not supported. In the authors' fork the name means Inception-ResNet-v2: "
        "say config_dialect: MTL_SSL if this is such a configuration"
    ),
    "faster_rcnn_nas": "NASNet is not supported",
    "faster_rcnn_pnas": "PNASNet is not supported",
    "faster_rcnn_resnet50_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_resnet101_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_resnet152_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_vgg16": "VGG-16 is not supported",
}


def smallest_crop(kind: str) -> int:
    """The least side of what stage 2 of this type can take."""
    return 3 if kind in _STAGE_2_OF_3X3 else 1


def problems(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor, path: str) -> Iterator[str]:
    """Lines for what is wrong with the message that stands at `path`."""
    kind, stride = config.type, config.first_stage_features_stride
    if kind in _STRIDE_16_ONLY and stride != 16:
        yield f"{path}.first_stage_features_stride = {stride}: must be 16 with type {kind}"
    if not kind:
        yield f"{path}.type: is missing; allowed: {listing(BACKBONES)}"
    elif kind in _NOT_SUPPORTED:
        yield f'{path}.type = "{kind}": {_NOT_SUPPORTED[kind]}; allowed: {listing(BACKBONES)}'
    elif kind not in BACKBONES:
        hint = suggestion(kind, BACKBONES)
        yield f'{path}.type = "{kind}": must be one of {listing(BACKBONES)}{hint}'
