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

from object_detection_mtl.export.graphs import producer

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
    constants = {name: nodes[name] for name in sorted(names) if nodes[name].op == "Const"}
    values = {name: tf.make_ndarray(node.attr["value"].tensor) for name, node in constants.items()}
    kernels = {name: value for name, value in values.items() if value.nbytes >= _MIN_BYTES}
    rest = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    rest.node.extend(node for node in definition.node if node.name not in kernels)
    return rest, {f"{name}:0": value for name, value in kernels.items()}
