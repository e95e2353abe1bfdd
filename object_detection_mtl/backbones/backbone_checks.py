"""Checks that a backbone of another program keeps to the interface."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras

from object_detection_mtl.backbones.backbone import Backbone, checkpoint_names

_MEMBERS = tuple(Backbone.__annotations__)
_SIDE = 256


def check_backbone(kind: str, backbone: Any, output_stride: int, smallest_crop: int) -> None:
    """Raise ValueError unless an object has the interface of a `Backbone`.

    Args:
        kind: registered name.
        backbone: result of its `build`.
        output_stride: requested stride of stage 1, in pixels.
        smallest_crop: registered height and width of the smallest crop.

    Raises:
        ValueError: a member is missing or has a wrong type, shape or stride; stage 2 is not a new
            model for every head; variables have no unique name in checkpoints.
    """
    where = f"backbone {kind!r}"
    missing = [name for name in _MEMBERS if not hasattr(backbone, name)]
    if missing:
        raise ValueError(
            f"{where}: build returned {backbone!r}, which has no {', '.join(missing)}; return a "
            "backbones.backbone.Backbone"
        )
    if not isinstance(backbone.scope, str) or not backbone.scope or "/" in backbone.scope:
        raise ValueError(
            f"{where}: scope is {backbone.scope!r}; expected a name without '/', under which "
            "checkpoints have its variables"
        )
    for name in ("make_stage2", "normalize"):
        if not callable(getattr(backbone, name)):
            raise ValueError(f"{where}: {name} is {getattr(backbone, name)!r}; expected a function")
    _check_stage1(where, backbone.stage1, output_stride)
    channels = backbone.stage1.output_shape[-1]
    stage2, another = (backbone.make_stage2(name) for name in ("stage2", "another_stage2"))
    _check_stage2(where, stage2, channels, smallest_crop)
    if {id(variable) for variable in stage2.weights} & {id(v) for v in another.weights}:
        raise ValueError(
            f"{where}: make_stage2 returned the same variables twice; every head trains a copy of "
            "its own. Make new layers in every call"
        )


def _check_stage1(where: str, stage1: Any, output_stride: int) -> None:
    _check_model(f"{where}: stage1", stage1)
    if stage1.input_shape != (None, None, None, 3):
        raise ValueError(
            f"{where}: stage1 takes inputs of shape {stage1.input_shape}; expected (None, None, "
            "None, 3): images of any size"
        )
    found = _SIDE / stage1.compute_output_shape((1, _SIDE, _SIDE, 3))[1]
    if found != output_stride:
        raise ValueError(
            f"{where}: stage1 has stride {found:g}; the config has first_stage_features_stride: "
            f"{output_stride}. Build stage1 for output_stride, or register the strides that it has"
        )


def _check_stage2(where: str, stage2: Any, channels: int, smallest_crop: int) -> None:
    _check_model(f"{where}: the result of make_stage2", stage2)
    if stage2.input_shape != (None, None, None, channels):
        raise ValueError(
            f"{where}: stage 2 takes inputs of shape {stage2.input_shape}; expected (None, None, "
            f"None, {channels}): crops of any size of stage1's {channels} channels"
        )
    try:
        cells = stage2.compute_output_shape((1, smallest_crop, smallest_crop, channels))[1:3]
    except ValueError:
        cells = (0, 0)
    if min(cells) < 1:
        raise ValueError(
            f"{where}: stage 2 has no output for a crop of {smallest_crop}x{smallest_crop} cells; "
            "register a larger smallest_crop"
        )


def _check_model(what: str, model: Any) -> None:
    if not isinstance(model, keras.Model) or not hasattr(model, "output_shape"):
        raise ValueError(f"{what} is {model!r}; expected a keras.Model(inputs, outputs)")
    if len(model.output_shape) != 4 or model.output_shape[-1] is None:
        raise ValueError(
            f"{what} returns shape {model.output_shape}; expected (batch, height, width, channels)"
        )
    if len(checkpoint_names(model, "")) == len(model.weights):
        return
    for layer in model.layers:
        names = Counter(variable.name for variable in layer.weights)
        if names and max(names.values()) > 1:
            raise ValueError(
                f"{what}: the layer {layer.name!r} has several variables named "
                f"{names.most_common(1)[0][0]!r}, which checkpoints could not tell apart. Put its "
                "layers into the model directly, not into a layer or model of their own"
            )
