"""Layers of an OpenVINO detector: which may be int8, by `inner_layers`."""

from __future__ import annotations

from typing import Any

from object_detection_mtl.export.formats import inner_layers
from object_detection_mtl.export.formats.inner_layers import GraphOperation, Kind, LayerChoice

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


def choose_layers(model: Any) -> LayerChoice:
    """Return which layers of an `openvino.Model` may be int8; names of operations are unique."""
    return inner_layers.choose_inner_layers(
        [
            GraphOperation(
                _name(each),
                _kind(each),
                tuple(_name(value.get_node()) for value in each.input_values()),
            )
            for each in model.get_ordered_ops()
        ]
    )


def make_names_unique(model: Any) -> None:
    """Give operations of equal names different ones."""
    operations = model.get_ordered_ops()
    names = inner_layers.unique_names(map(_name, operations))
    for operation, name in zip(operations, names, strict=True):
        operation.set_friendly_name(name)


def count_layers(model: Any) -> tuple[int, int]:
    """Return the numbers of layers with int8 weights and of other layers."""
    weights = [_weights(each) for each in model.get_ordered_ops() if _is_layer(each)]
    types = [each.get_element_type().get_type_name() for each in weights]
    number = sum(each in _INT8_TYPES for each in types)
    return number, len(types) - number


def _kind(operation: Any) -> Kind:
    name = operation.get_type_name()
    if _is_layer(operation):
        return Kind.LAYER
    if name in _FEATURE_OPERATIONS:
        return Kind.FEATURE
    return Kind.CROP if name == _CROP else Kind.OTHER


def _is_layer(operation: Any) -> bool:
    return operation.get_type_name() in _LAYERS and _is_constant(_weights(operation))


def _weights(layer: Any) -> Any:
    """Return the operation that makes a layer's second input, without conversions of it."""
    source = layer.input_value(1).get_node()
    while source.get_type_name() in _WEIGHT_OPERATIONS:
        source = source.input_value(0).get_node()
    return source


def _is_constant(operation: Any) -> bool:
    return operation.get_type_name() == "Constant"


def _name(operation: Any) -> str:
    return operation.get_friendly_name()
