"""Traversal and pruning of a `GraphDef`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def producer_name(tensor: str) -> str:
    """Return the name of the node that computes a tensor, given as in a node's inputs."""
    return tensor.lstrip("^").split(":")[0]


def topological_order(nodes: dict[str, Any]) -> list[Any]:
    """Return the nodes, each after its inputs."""
    ordered: dict[str, Any] = {}
    waiting = list(reversed(nodes))
    while waiting:
        name = waiting[-1]
        missing = [
            source
            for source in map(producer_name, nodes[name].input)
            if source not in ordered and name not in ordered
        ]
        if missing:
            waiting += missing
        else:
            ordered[waiting.pop()] = nodes[name]
    return list(ordered.values())


def prune_graph(definition: Any, tensors: Iterable[str]) -> Any:
    """Return a copy with only the nodes that some tensors need.

    Control dependencies on constants, which would keep unused constants, are dropped.
    """
    copy = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    constants = {f"^{node.name}" for node in definition.node if node.op == "Const"}
    nodes = {}
    for original in definition.node:
        node = nodes[original.name] = type(original)()
        node.CopyFrom(original)
        node.ClearField("input")
        node.input.extend(name for name in original.input if name not in constants)
    waiting = [producer_name(name) for name in tensors]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += map(producer_name, nodes[name].input)
    copy.node.extend(node for name, node in nodes.items() if name in needed)
    return copy
