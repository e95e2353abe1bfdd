"""Cast the convolutions of a frozen graph to bfloat16.

bfloat16 has float32's range and 8 bits of mantissa. CPUs with AVX512-BF16 or AMX, GPUs and TPUs
multiply it several times as fast and accumulate in float32. Its precision is enough for feature
maps, but not for boxes: a coordinate of 800 would be rounded to a multiple of 4.

Convolutions are cast, and the operations between them: biases, activations, sums and concatenations
of feature maps, max pooling. Feature maps are cast back to float32 for region crops, averages and
all that follows. Heads, that is convolutions whose result is an output rather than another feature
map, stay float32, as do decoding and suppression. Weights are stored in bfloat16.

Depthwise convolutions stay float32, too. They add nine products, too few for rounding errors to
cancel, and with batch norm folded in some are small differences of large numbers: in bfloat16 they
moved MobileNet's last feature map by 5.6 % of its norm instead of 2.4 %, and mAP by up to a point.
They are a twentieth of the arithmetic.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from object_detection_mtl.export.graph.graph_walk import producer_name, topological_order

_FLOAT32, _BFLOAT16 = tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum
# Operations that are cast between convolutions.
_CAST_BETWEEN = frozenset(
    ("Add", "AddV2", "BiasAdd", "ConcatV2", "Elu", "Identity", "LeakyRelu", "MaxPool", "Mul")
    + ("Relu", "Relu6", "Sub")
)
# Results that are feature maps even if no convolution reads them: the last ones before a crop or
# average.
_FEATURE_MAPS = frozenset(("ConcatV2", "Elu", "LeakyRelu", "MaxPool", "Relu", "Relu6"))


def cast_convolutions(definition: Any, kept: Iterable[str]) -> Any:
    """Return a copy of a `GraphDef` with convolutions in bfloat16.

    Args:
        definition: Frozen and folded; loops and conditions in it are not changed.
        kept: Names of tensors that stay float32.
    """
    nodes = {node.name: node for node in definition.node}
    chosen = _choose_nodes(nodes, {producer_name(name) for name in kept})
    result = tf.compat.v1.GraphDef()
    result.library.CopyFrom(definition.library)
    result.versions.CopyFrom(definition.versions)
    casts = _Casts(nodes, result)
    for node in definition.node:
        copy = result.node.add()
        copy.CopyFrom(node)
        is_chosen = node.name in chosen
        if is_chosen:
            copy.attr["T"].type = _BFLOAT16
        wanted = set(_float_inputs(node)) if is_chosen else set(range(len(node.input)))
        for index, name in enumerate(node.input):
            if index in wanted and (producer_name(name) in chosen) != is_chosen:
                copy.input[index] = casts.cast(name, to_bfloat16=is_chosen)
    return result


def _choose_nodes(nodes: dict[str, Any], kept: set[str]) -> set[str]:
    """Return the names of the nodes to cast."""
    ordered = topological_order(nodes)
    chosen: set[str] = set()
    for node in ordered:
        if node.op == "Conv2D":
            is_map = nodes[producer_name(node.input[1])].op == "Const"
        else:
            inputs = [producer_name(node.input[i]) for i in _float_inputs(node)]
            known = [name in chosen for name in inputs if nodes[name].op != "Const"]
            is_map = node.op in _CAST_BETWEEN and bool(known) and all(known)
        if is_map and node.attr["T"].type == _FLOAT32:
            chosen.add(node.name)
    readers = defaultdict(set)
    for node in nodes.values():
        for name in node.input:
            readers[producer_name(name)].add(node.name)
    # A head's bias and sum are dropped first, then the convolution before them.
    for node in reversed(ordered):
        leads_on = node.op in _FEATURE_MAPS or bool(readers[node.name] & chosen)
        if node.name in kept or not leads_on:
            chosen.discard(node.name)
    return chosen


class _Casts:
    """Casts of a graph, one for each tensor. Constants are cast immediately."""

    def __init__(self, nodes: dict[str, Any], graph: Any) -> None:
        self._nodes = nodes
        self._graph = graph
        self._made: dict[str, str] = {}

    def cast(self, tensor: str, *, to_bfloat16: bool) -> str:
        """Return the name of the cast tensor; control inputs, which have no value, stay."""
        source = self._nodes[producer_name(tensor)]
        if tensor.startswith("^"):
            return tensor
        name = f"{source.name}/{'bfloat16' if to_bfloat16 else 'float32'}"
        if tensor not in self._made:
            self._made[tensor] = name
            node = self._graph.node.add(name=name)
            if source.op == "Const":
                values = tf.make_ndarray(source.attr["value"].tensor)
                values = values.astype(tf.bfloat16.as_numpy_dtype)
                node.op = "Const"
                node.attr["dtype"].type = _BFLOAT16
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
            else:
                node.op = "Cast"
                node.input.append(tensor)
                node.attr["SrcT"].type = _FLOAT32 if to_bfloat16 else _BFLOAT16
                node.attr["DstT"].type = _BFLOAT16 if to_bfloat16 else _FLOAT32
        return self._made[tensor]


def _float_inputs(node: Any) -> list[int]:
    """Return the positions of the inputs of the node's own type: not control inputs and axes."""
    values = [i for i, name in enumerate(node.input) if not name.startswith("^")]
    return values[:-1] if node.op == "ConcatV2" else values
