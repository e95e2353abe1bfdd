"""A frozen graph's convolutions in bfloat16, everything else as it was.

bfloat16 has float32's range and 8 bits of mantissa. Processors with AVX512-BF16 or AMX, GPUs and
TPUs multiply it several times as fast, adding up in float32. It is enough for feature maps and not
for boxes: a coordinate of 800 would be rounded to a multiple of 4.

So convolutions are narrowed, with what lies between them: biases, activations, sums and
concatenations of maps, max pooling. Where maps leave this network they are widened: for the crop of
regions, averages and all that follows. Heads, that is convolutions whose result is an answer
instead of another map, stay float32, as do decoding and suppression. Weights are stored narrow.

Depthwise convolutions stay float32, too. They add up nine products, too few for the roundings to
cancel, and with batch norm folded in some are small differences of large numbers: narrow ones moved
MobileNet's last map by 5.6 % of its norm instead of 2.4 %, and mAP by up to a point. Their share of
the arithmetic is a twentieth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from object_detection_mtl.export.graph.graph_walk import in_order, producer

_WIDE, _NARROW = tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum
_BETWEEN = frozenset(
    "Add AddV2 BiasAdd ConcatV2 Elu Identity LeakyRelu MaxPool Mul Relu Relu6 Sub".split()
)
# Results that are maps even if no convolution reads them: the last ones before a crop or average.
_MAPS = frozenset("ConcatV2 Elu LeakyRelu MaxPool Relu Relu6".split())


def narrow(definition: Any, kept: Iterable[str]) -> Any:
    """A copy of a `GraphDef` with narrow convolutions.

    Args:
        definition: frozen and folded; loops and conditions in it are left alone.
        kept: names of tensors that stay float32.
    """
    nodes = {node.name: node for node in definition.node}
    chosen = _choose(nodes, {producer(name) for name in kept})
    narrowed = tf.compat.v1.GraphDef()
    narrowed.library.CopyFrom(definition.library)
    narrowed.versions.CopyFrom(definition.versions)
    casts = _Casts(nodes, narrowed)
    for node in definition.node:
        copy = narrowed.node.add()
        copy.CopyFrom(node)
        is_narrow = node.name in chosen
        if is_narrow:
            copy.attr["T"].type = _NARROW
        wanted = set(_float_inputs(node)) if is_narrow else set(range(len(node.input)))
        for index, name in enumerate(node.input):
            if index in wanted and (producer(name) in chosen) != is_narrow:
                copy.input[index] = casts.of(name, to_narrow=is_narrow)
    return narrowed


def _choose(nodes: dict[str, Any], kept: set[str]) -> set[str]:
    """Names of the nodes to narrow."""
    chosen: set[str] = set()
    for node in in_order(nodes):
        if node.op == "Conv2D":
            is_map = nodes[producer(node.input[1])].op == "Const"
        else:
            inputs = [producer(node.input[i]) for i in _float_inputs(node)]
            known = [name in chosen for name in inputs if nodes[name].op != "Const"]
            is_map = node.op in _BETWEEN and bool(known) and all(known)
        if is_map and node.attr["T"].type == _WIDE:
            chosen.add(node.name)
    readers = defaultdict(set)
    for node in nodes.values():
        for name in node.input:
            readers[producer(name)].add(node.name)
    # A head's bias and sum are dropped first, then the convolution before them.
    for node in reversed(in_order(nodes)):
        leads_on = node.op in _MAPS or bool(readers[node.name] & chosen)
        if node.name in kept or not leads_on:
            chosen.discard(node.name)
    return chosen


class _Casts:
    """Adds conversions, each once. Constants are converted here and now."""

    def __init__(self, nodes: dict[str, Any], graph: Any) -> None:
        self._nodes = nodes
        self._graph = graph
        self._made: dict[str, str] = {}

    def of(self, tensor: str, *, to_narrow: bool) -> str:
        """Name of the converted tensor; control inputs, which have no values, stay."""
        source = self._nodes[producer(tensor)]
        if tensor.startswith("^"):
            return tensor
        name = f"{source.name}/{'bfloat16' if to_narrow else 'float32'}"
        if tensor not in self._made:
            self._made[tensor] = name
            node = self._graph.node.add(name=name)
            if source.op == "Const":
                values = tf.make_ndarray(source.attr["value"].tensor)
                values = values.astype(tf.bfloat16.as_numpy_dtype)
                node.op = "Const"
                node.attr["dtype"].type = _NARROW
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
            else:
                node.op = "Cast"
                node.input.append(tensor)
                node.attr["SrcT"].type = _WIDE if to_narrow else _NARROW
                node.attr["DstT"].type = _NARROW if to_narrow else _WIDE
        return self._made[tensor]


def _float_inputs(node: Any) -> list[int]:
    """Places of the inputs with the node's own type: all but control inputs and axes."""
    values = [i for i, name in enumerate(node.input) if not name.startswith("^")]
    return values[:-1] if node.op == "ConcatV2" else values
