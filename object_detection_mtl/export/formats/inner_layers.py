"""Layers of a converted detector: which may be int8, and which stay float32.

A layer is a convolution or matrix product with constant weights. An inner layer's result is a
feature map, which another layer reads. A head's result is boxes, scores or logits: a softmax, a box
decoder or an output reads it. Layers are told apart by this structure, since conversion drops most
of their names.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """What an operation is for the choice of layers."""

    LAYER = enum.auto()
    FEATURE = enum.auto()  # of one feature map or several, such as an activation
    CROP = enum.auto()  # crops its first input
    OTHER = enum.auto()


@dataclass(frozen=True)
class GraphOperation:
    """An operation of a graph.

    Attributes:
        name: Unique name.
        kind: See `Kind`.
        sources: Names of the operations that make its inputs, by the number of the input; "" for
            an input of the graph.
    """

    name: str
    kind: Kind
    sources: tuple[str, ...]


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


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names with a number added to those that came before."""
    seen: dict[str, None] = {}
    for name in names:
        unique, number = name, 1
        while unique in seen:
            unique = f"{name}/{number}"
            number += 1
        seen[unique] = None
    return list(seen)


def choose_inner_layers(operations: Sequence[GraphOperation]) -> LayerChoice:
    """Return which layers of a graph may be int8.

    Args:
        operations: Those of the graph, each after its sources.
    """
    layers = [each.name for each in operations if each.kind is Kind.LAYER]
    reaches_layer = _reaching(operations, set(layers))
    inner = set(layers) & reaches_layer
    # An average before a head, for example, reaches a layer but no inner one: it stays float32.
    reaches_inner = _reaching(operations, inner)
    kinds = {each.name: each.kind for each in operations}
    chosen = set(inner)
    for operation in operations:
        is_between = operation.kind is Kind.FEATURE and operation.name in reaches_inner
        if is_between and any(
            name in chosen or kinds.get(name) is Kind.CROP for name in operation.sources
        ):
            chosen.add(operation.name)
    return LayerChoice(
        inner=tuple(name for name in layers if name in inner),
        heads=tuple(name for name in layers if name not in inner),
        kept=tuple(each.name for each in operations if each.name not in chosen),
    )


def _reaching(operations: Sequence[GraphOperation], targets: set[str]) -> set[str]:
    """Return the operations whose result a target reads, directly or through a feature map."""
    found: set[str] = set()
    for reader in reversed(operations):
        is_target, reaches = reader.name in targets, reader.name in found
        for index, source in _read(reader):
            passes = reader.kind is Kind.FEATURE or (reader.kind is Kind.CROP and index == 0)
            if (is_target and index == 0) or (passes and reaches):
                found.add(source)
    return found


def _read(operation: GraphOperation) -> Iterator[tuple[int, str]]:
    return ((index, name) for index, name in enumerate(operation.sources) if name)
