"""Layers of an OpenVINO detector: which may be int8, and which stay float32.

A layer is a convolution or matrix product with constant weights. An inner layer's result is a
feature map, which another layer reads. A head's result is boxes, scores or logits: a softmax, a box
decoder or an output reads it. Layers are told apart by this structure, since conversion drops most
of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LAYERS = frozenset(("Convolution", "GroupConvolution", "MatMul"))
_CROP = "ROIPooling"
# Operations on feature maps between two layers. A reshaped or split result is not a feature map:
# these are the logits, which the refining layer reads, and the box codes.
_FEATURE_OPERATIONS = frozenset(
    ("Add", "AvgPool", "Clamp", "Concat", "Elu", "Gelu", "HSigmoid", "HSwish", "MaxPool")
    + ("Multiply", "PRelu", "Pad", "ReduceMean", "Relu", "Sigmoid", "Subtract", "Swish")
    + ("Transpose",)
)
# Operations between stored weights and a layer.
_WEIGHT_OPERATIONS = frozenset(
    ("Convert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose")
)
_INT8_TYPES = ("i8", "u8")


@dataclass(frozen=True)
class LayerChoice:
    """Names of the operations of a model.

    Attributes:
        inner: Layers that may be int8.
        heads: Layers that stay float32.
        kept: All operations that stay float32: neither inner layers nor between them.
    """

    inner: tuple[str, ...]
    heads: tuple[str, ...]
    kept: tuple[str, ...]


def choose_layers(model: Any) -> LayerChoice:
    """Return which layers of an `openvino.Model` may be int8; names of operations are unique."""
    operations = model.get_ordered_ops()
    reaches_layer = _reaching(operations, {_name(each) for each in operations if _is_layer(each)})
    inner = {_name(each) for each in operations if _is_layer(each)} & reaches_layer
    # An average before a head, for example, reaches a layer but no inner one: it stays float32.
    reaches_inner = _reaching(operations, inner)
    chosen = set(inner)
    for operation in operations:
        if operation.get_type_name() in _FEATURE_OPERATIONS and _name(operation) in reaches_inner:
            sources = [source for source in _sources(operation) if not _is_constant(source)]
            if any(_name(each) in chosen or _is_crop(each) for each in sources):
                chosen.add(_name(operation))
    names = [_name(each) for each in operations]
    layers = [_name(each) for each in operations if _is_layer(each)]
    return LayerChoice(
        inner=tuple(name for name in layers if name in inner),
        heads=tuple(name for name in layers if name not in inner),
        kept=tuple(name for name in names if name not in chosen),
    )


def make_names_unique(model: Any) -> None:
    """Give operations of equal names different ones."""
    seen: set[str] = set()
    for operation in model.get_ordered_ops():
        name, number = _name(operation), 1
        while _name(operation) in seen:
            operation.set_friendly_name(f"{name}/{number}")
            number += 1
        seen.add(_name(operation))


def count_layers(model: Any) -> tuple[int, int]:
    """Return the numbers of layers with int8 weights and of other layers."""
    weights = [_weights(each) for each in model.get_ordered_ops() if _is_layer(each)]
    types = [each.get_element_type().get_type_name() for each in weights]
    number = sum(each in _INT8_TYPES for each in types)
    return number, len(types) - number


def _reaching(operations: list[Any], targets: set[str]) -> set[str]:
    """Return the operations whose result a target reads, directly or through a feature map."""
    found: set[str] = set()
    for operation in reversed(operations):
        for reader, index in _readers(operation):
            kind, name = reader.get_type_name(), _name(reader)
            is_read = name in targets and index == 0
            passes = kind in _FEATURE_OPERATIONS or (kind == _CROP and index == 0)
            if is_read or (passes and name in found):
                found.add(_name(operation))
    return found


def _is_layer(operation: Any) -> bool:
    return operation.get_type_name() in _LAYERS and _is_constant(_weights(operation))


def _weights(layer: Any) -> Any:
    """Return the operation that makes a layer's second input, without conversions of it."""
    source = layer.input_value(1).get_node()
    while source.get_type_name() in _WEIGHT_OPERATIONS:
        source = source.input_value(0).get_node()
    return source


def _is_crop(operation: Any) -> bool:
    return operation.get_type_name() == _CROP


def _is_constant(operation: Any) -> bool:
    return operation.get_type_name() == "Constant"


def _readers(operation: Any) -> Iterator[tuple[Any, int]]:
    for output in operation.outputs():
        for reading in output.get_target_inputs():
            yield reading.get_node(), reading.get_index()


def _sources(operation: Any) -> list[Any]:
    return [value.get_node() for value in operation.input_values()]


def _name(operation: Any) -> str:
    return operation.get_friendly_name()
