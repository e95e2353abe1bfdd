"""Registry of backbones: one entry per feature extractor type.

A new backbone of the package is a module with a function `build` (`backbone.BuildBackbone`) and an
entry here. `register_backbone` adds a backbone of another program. This module imports no
TensorFlow: configs are checked against it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from object_detection_mtl.backbones.backbone import Backbone

KERAS_SUFFIX = "_keras"
# Strides that detectors can have, in pixels.
STRIDES = (8, 16)
# Arguments of every `build`.
ARGUMENTS = (
    "output_stride",
    "regularizer",
    "batch_norm_trainable",
    "trainable",
    "layer_options",
)


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
    strides: tuple[int, ...] = STRIDES
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
# The types of the package; `BACKBONES` may have further ones, of `register_backbone`.
PACKAGE_TYPES = tuple(BACKBONES)


@dataclass(frozen=True)
class RegisteredBackbone(BackboneEntry):
    """A feature extractor type of another program; its network has its own scope.

    Attributes:
        build_network: makes the network.
    """

    module: str = ""
    scope: str = ""
    is_tf1: bool = False
    build_network: Callable[..., Any] | None = None

    def build(self, **options: Any) -> Backbone:
        """Return what the program builds, which `backbone_checks` checks."""
        assert self.build_network is not None
        return self.build_network(**options)


def register_backbone(
    name: str,
    build: Callable[..., Backbone],
    *,
    strides: Collection[int] = (16,),
    smallest_crop: int = 1,
) -> None:
    """Add a backbone that the package does not have, for this process.

    `build_detector(name, ...)` or `feature_extractor { type: "name" }` of a config selects it.
    Training, evaluation and export then treat it like the backbones of the package. Register it
    again in each process that builds the detector from its config; an exported model needs no
    registration. The guide "Add a backbone" has a complete one.

    Args:
        name: letters, digits and underscores. It replaces an earlier registration of this name.
        build: takes the keyword arguments of `backbones.backbone.BuildBackbone` and returns a
            `backbones.backbone.Backbone`.
        strides: strides that stage 1 can have, of 8 and 16 pixels.
        smallest_crop: the minimum height and width of a crop for stage 2, in cells.

    Raises:
        ValueError: the name is unusable or that of a type of the package; `build` is not a function
            with these arguments; a stride or `smallest_crop` is out of range. The network itself is
            checked when a detector is built.

    Example:
        >>> import keras
        >>> import object_detection_mtl as odm
        >>> from object_detection_mtl.backbones.backbone import Backbone
        >>> from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm
        >>> def make_stage(name, channels, widths):
        ...     inputs = features = keras.Input((None, None, channels))
        ...     for width in widths:
        ...         features = ConvBatchNorm(width, 3, strides=2, name=f"conv{width}")(features)
        ...     return keras.Model(inputs, features, name=name)
        >>> def build(**options):
        ...     return Backbone(
        ...         scope="TinyNet", stage1=make_stage("stage1", 3, (16, 32, 64, 128)),
        ...         make_stage2=lambda name: make_stage(name, 128, (256,)),
        ...         normalize=lambda images: images / 127.5 - 1.0)
        >>> odm.register_backbone("tiny_net", build)
        >>> odm.build_detector("tiny_net", num_classes=2).model.backbone.scope
        'TinyNet'
    """
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("rfcn_"):
        raise ValueError(
            f"backbone name {name!r}; expected letters, digits and underscores, without the prefix "
            "rfcn_ of R-FCN detectors"
        )
    if name in PACKAGE_TYPES:
        raise ValueError(f"backbone name {name!r} is a type of the package; choose another name")
    _check_arguments(name, build)
    strides = tuple(strides) if isinstance(strides, Collection) else (strides,)
    if not strides or not set(strides) <= set(STRIDES):
        raise ValueError(
            f"backbone {name!r}: strides is {strides}; expected (8,), (16,) or (8, 16)"
        )
    if not isinstance(smallest_crop, int) or smallest_crop < 1:
        raise ValueError(
            f"backbone {name!r}: smallest_crop is {smallest_crop!r}; expected 1 or more cells"
        )
    BACKBONES[name] = RegisteredBackbone(
        strides=strides, smallest_crop=smallest_crop, build_network=build
    )


def _check_arguments(name: str, build: Any) -> None:
    """Raise ValueError unless `build` can be called with `ARGUMENTS`."""
    if not callable(build):
        raise ValueError(
            f"backbone {name!r}: build is {build!r}; expected a function that returns a "
            "backbones.backbone.Backbone"
        )
    try:
        inspect.signature(build).bind(**dict.fromkeys(ARGUMENTS))
    except TypeError as error:
        raise ValueError(
            f"backbone {name!r}: build cannot be called with {', '.join(ARGUMENTS)} ({error}); "
            "give it these keyword arguments, or **options, and no others without a default"
        ) from error


def entry_of_scope(scope: str) -> BackboneEntry | None:
    """Return an entry with this scope in checkpoints; None if there is none."""
    return next((entry for entry in BACKBONES.values() if entry.scope == scope), None)
