"""Walking a `GraphDef`: who reads whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def producer(tensor: str) -> str:
    """Name of the node that a tensor, as inputs name it, comes from."""
    return tensor.lstrip("^").split(":")[0]


def in_order(nodes: dict[str, Any]) -> list[Any]:
    """The nodes, each after those that it reads."""
    ordered: dict[str, Any] = {}
    waiting = list(reversed(nodes))
    while waiting:
        name = waiting[-1]
        missing = [
            source
            for source in map(producer, nodes[name].input)
            if source not in ordered and name not in ordered
        ]
        if missing:
            waiting += missing
        else:
            ordered[waiting.pop()] = nodes[name]
    return list(ordered.values())


def pruned(definition: Any, tensors: Iterable[str]) -> Any:
    """A copy with the nodes only that tensors of these names need.

    Nodes do not wait for constants any more, which would keep one that nobody reads.
    """
    copy = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    constants = {f"^{node.name}" for node in definition.node if node.op == "Const"}
    nodes = {}
    for original in definition.node:
        node = nodes[original.name] = type(original)()
        node.CopyFrom(original)
        node.ClearField("input")
        node.input.extend(name for name in original.input if name not in constants)
    waiting = [producer(name) for name in tensors]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += map(producer, nodes[name].input)
    copy.node.extend(node for name, node in nodes.items() if name in needed)
    return copy
