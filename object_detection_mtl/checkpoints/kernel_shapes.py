"""Recognition of a network by the shapes of its kernels.

Files of Keras and of the OD API in TensorFlow 2 do not name the network. It is the network of the
registry whose kernels have the same shapes in the same order.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from object_detection_mtl.backbones import registry
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX
from object_detection_mtl.checkpoints.keras_order import KerasLayer, keras_layers

Shapes = tuple[tuple[int, ...], ...]
_KERAS_TYPES = tuple(
    kind for kind in registry.PACKAGE_TYPES if kind.endswith(registry.KERAS_SUFFIX)
)


class StageKernels(NamedTuple):
    """Shapes of the kernels of both stages of a network, in Keras' order."""

    stage1: Shapes
    stage2: Shapes

    @property
    def whole(self) -> Shapes:
        """Return the kernels of the whole network."""
        return self.stage1 + self.stage2


def kernels_of_layers(layers: Iterable[KerasLayer], variables: Mapping[str, Any]) -> Shapes:
    """Return the shapes of the kernels of layers.

    Args:
        layers: result of `keras_order.keras_layers`.
        variables: name -> variable.
    """
    return tuple(tuple(variables[la["kernel"]].shape) for la in layers if "kernel" in la)


def kernels_in_objects(shapes: Mapping[str, tuple[int, ...]], root: str) -> Shapes:
    """Return the shapes of the kernels below `root` in an object graph, in the order of layers."""
    pattern = re.compile(
        rf"{re.escape(root)}/layer_with_weights-(\d+)/kernel{re.escape(VALUE_SUFFIX)}$"
    )
    numbered = {
        int(match[1]): tuple(shape)
        for key, shape in shapes.items()
        if (match := pattern.match(key)) is not None
    }
    return tuple(numbered[number] for number in sorted(numbered))


def has_keras_form(scope: str) -> bool:
    """Return whether Keras and the OD API in TensorFlow 2 build the network of a scope."""
    return any(registry.BACKBONES[kind].scope == scope for kind in _KERAS_TYPES)


def name_of_stage1(kernels: Shapes) -> str:
    """Return the scope of the network whose first stage has these kernels, or ""."""
    return _name(kernels, lambda found: found.stage1)


def name_of_network(kernels: Shapes) -> str:
    """Return the scope of the network that has these kernels, or ""."""
    return _name(kernels, lambda found: found.whole)


def _name(kernels: Shapes, part: Any) -> str:
    for kind in _KERAS_TYPES:
        if part(_kernels_of_type(kind)) == kernels:
            return registry.BACKBONES[kind].scope
    return ""


@functools.cache
def _kernels_of_type(kind: str) -> StageKernels:
    """Return the kernels of a type of the registry, which is built for it."""
    backbone = registry.BACKBONES[kind].build(
        output_stride=16,
        regularizer=None,
        batch_norm_trainable=False,
        trainable=True,
        layer_options={},
    )
    shapes = []
    for stage in (backbone.stage1, backbone.make_stage2("stage2")):
        names = checkpoint_names(stage, "stage")
        shapes.append(kernels_of_layers(keras_layers(names, "stage/"), names))
    return StageKernels(*shapes)
