"""Registry of backbones: one entry per feature extractor type.

A new backbone is a module with a function `build` (`backbone.BuildBackbone`) and an entry here.
This module imports no TensorFlow: configs are checked against it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from object_detection_mtl.backbones.backbone import Backbone

KERAS_SUFFIX = "_keras"


@dataclass(frozen=True)
class BackboneEntry:
    """One feature extractor type.

    Attributes:
        module: module in `object_detection_mtl.backbones`; its `build` makes the network.
        scope: scope of the network's variables in checkpoints. Two types may have the same.
        arguments: arguments of `build` that the type fixes.
        strides: strides that stage 1 can have, in pixels.
        smallest_crop: the minimum height and width of a crop for stage 2.
        fields: fields of FasterRcnnFeatureExtractor that this type uses, in addition to those of
            all types; the others of `TYPE_FIELDS` are ignored with this type.
        is_tf1: configs with this type were written for TensorFlow 1 and keep its conventions.
        application: the model of `keras.applications` with the same weights, or "".
    """

    module: str
    scope: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    strides: tuple[int, ...] = (8, 16)
    smallest_crop: int = 1
    fields: tuple[str, ...] = ()
    is_tf1: bool = True
    application: str = ""

    def build(self, **options: Any) -> Backbone:
        """Return the backbone; `options` are those of `backbone.BuildBackbone`."""
        module = importlib.import_module(f"object_detection_mtl.backbones.{self.module}")
        return module.build(**self.arguments, **options)


def _resnet(num_layers: int, *, keras_form: bool = False) -> BackboneEntry:
    return BackboneEntry(
        "resnet_v1",
        f"resnet_v1_{num_layers}{KERAS_SUFFIX if keras_form else ''}",
        {"num_layers": num_layers, "keras_form": keras_form},
        strides=(16,) if keras_form else (8, 16),
        fields=("freeze_layer",),
        is_tf1=not keras_form,
        application=f"ResNet{num_layers}" if keras_form else "",
    )


def _inception_resnet_v2(*, is_tf1: bool) -> BackboneEntry:
    # Mixed_7a is 3x3 without padding.
    return BackboneEntry(
        "inception_resnet_v2",
        "InceptionResnetV2",
        smallest_crop=3,
        is_tf1=is_tf1,
        application="InceptionResNetV2",
    )


# Without a suffix a type is the network of TF-Slim; with `_keras` that of Keras, which has the
# strides of a ResNet elsewhere, so that weights of one do not fit the other.
BACKBONES: dict[str, BackboneEntry] = {
    "faster_rcnn_efficientnet_v2_b0": BackboneEntry(
        "keras_application",
        "EfficientNetV2B0",
        {"application": "EfficientNetV2B0"},
        strides=(16,),
        is_tf1=False,
        application="EfficientNetV2B0",
    ),
    "faster_rcnn_inception_resnet_v2": _inception_resnet_v2(is_tf1=True),
    "faster_rcnn_inception_resnet_v2_keras": _inception_resnet_v2(is_tf1=False),
    "faster_rcnn_inception_v2": BackboneEntry(
        "inception_v2", "InceptionV2", fields=("depth_multiplier", "min_depth")
    ),
    "faster_rcnn_mobilenet_v1": BackboneEntry(
        "mobilenet_v1",
        "MobilenetV1",
        strides=(16,),
        fields=(
            "conv_depth_ratio_in_percentage",
            "depth_multiplier",
            "min_depth",
            "skip_last_stride",
        ),
        is_tf1=False,
    ),
    "faster_rcnn_mobilenet_v3_large": BackboneEntry(
        "keras_application",
        "MobileNetV3Large",
        {"application": "MobileNetV3Large"},
        strides=(16,),
        is_tf1=False,
        application="MobileNetV3Large",
        # Keras pads for even sizes: a 5x5 kernel does not fit into a padded crop of one cell.
        smallest_crop=2,
    ),
    "faster_rcnn_resnet50": _resnet(50),
    "faster_rcnn_resnet50_keras": _resnet(50, keras_form=True),
    "faster_rcnn_resnet101": _resnet(101),
    "faster_rcnn_resnet101_keras": _resnet(101, keras_form=True),
    "faster_rcnn_resnet152": _resnet(152),
    "faster_rcnn_resnet152_keras": _resnet(152, keras_form=True),
}
# Config fields that only some types have.
TYPE_FIELDS = tuple(sorted({name for entry in BACKBONES.values() for name in entry.fields}))


def entry_of_scope(scope: str) -> BackboneEntry | None:
    """Return an entry with this scope in checkpoints; None if there is none."""
    return next((entry for entry in BACKBONES.values() if entry.scope == scope), None)
