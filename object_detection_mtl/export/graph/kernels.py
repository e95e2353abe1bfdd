"""Convolution kernels apart from their frozen graph, to be served as variables.

A constant is part of the graph, and whoever loads a graph copies it a dozen times: reading, cutting
it into functions, optimising it at the first call. With the 180 MB of a ResNet-101 that took 4 s to
load, 4 s more at the first call, and 5 GiB. A variable is read once. That constants are laid out
for the processor once and for all, and variables at each call, does not show in a call's time.

Everything else remains constant: biases, base anchors. A graph has at most 2 GiB, which the kernels
of a large backbone with several auxiliary heads come near.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.export.graph.graph_walk import producer

_PRODUCTS = frozenset(["Conv2D", "DepthwiseConv2dNative", "MatMul"])
# A kernel that is smaller is not worth a variable.
_MIN_BYTES = 4096


def take_out(definition: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Cuts the kernels out of a `GraphDef` that is frozen, folded and pruned.

    Returns:
        The graph, whose convolutions read tensors that it lacks.
        Name of such a tensor -> its values.
    """
    nodes = {node.name: node for node in definition.node}
    names = {producer(node.input[1]) for node in nodes.values() if node.op in _PRODUCTS}
    values: dict[str, np.ndarray] = {}
    for name in sorted(names):
        if nodes[name].op == "Const":
            value = tf.make_ndarray(nodes[name].attr["value"].tensor)
            if value.nbytes >= _MIN_BYTES:
                values[name] = value
    stands_for = _equal_ones(values)
    rest = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    for node in definition.node:
        if node.name not in values:
            copy = rest.node.add()
            copy.CopyFrom(node)
            for place, name in enumerate(node.input):
                copy.input[place] = stands_for.get(producer(name), name)
    return rest, {f"{name}:0": values[name] for name in sorted(set(stands_for.values()))}


def _equal_ones(values: dict[str, np.ndarray]) -> dict[str, str]:
    """Name of a kernel -> name of the first one that equals it.

    Heads that share a block each have its kernels folded for themselves.
    """
    first: dict[tuple[Any, ...], str] = {}
    return {
        name: first.setdefault((value.shape, value.dtype, value.tobytes()), name)
        for name, value in values.items()
    }
