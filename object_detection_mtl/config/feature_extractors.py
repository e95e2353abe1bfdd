"""Validation of feature extractor types against the registry of backbones."""

from __future__ import annotations

from collections.abc import Iterator

from object_detection_mtl.backbones.registry import BACKBONES
from object_detection_mtl.config.errors import listing, suggestion
from object_detection_mtl.protos import faster_rcnn_pb2

# Types of the Object Detection API and its forks that this package does not have.
_NOT_SUPPORTED = {
    "faster_rcnn_inception_v2_keras": (
        "neither this package nor the Object Detection API has a Keras form of Inception v2; use "
        "faster_rcnn_inception_v2"
    ),
    "faster_rcnn_nas": "NASNet is not supported",
    "faster_rcnn_pnas": "PNASNet is not supported",
    "faster_rcnn_resnet50_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_resnet101_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_resnet152_fpn_keras": "feature pyramids are not supported",
    "faster_rcnn_vgg16": "VGG-16 is not supported",
}


def problems(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor, path: str) -> Iterator[str]:
    """Yield a line for each problem of the message at `path`."""
    kind, stride = config.type, config.first_stage_features_stride
    entry = BACKBONES.get(kind)
    if entry is not None:
        # Other strides than 8 and 16 are refused for all types.
        if stride in (8, 16) and stride not in entry.strides:
            allowed = " or ".join(map(str, entry.strides))
            yield (
                f"{path}.first_stage_features_stride = {stride}: must be {allowed} with type {kind}"
            )
    elif not kind:
        yield f"{path}.type: is missing; allowed: {listing(BACKBONES)}"
    elif kind in _NOT_SUPPORTED:
        yield f'{path}.type = "{kind}": {_NOT_SUPPORTED[kind]}; allowed: {listing(BACKBONES)}'
    else:
        hint = suggestion(kind, BACKBONES)
        yield f'{path}.type = "{kind}": must be one of {listing(BACKBONES)}{hint}'
