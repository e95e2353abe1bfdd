"""Order of a network's layers in Keras checkpoints, which number layers.

Keras sorts the layers of a model by their distance from its output, and layers at the same distance
by the order of the branches they are on. A convolution and its batch norm are two layers in Keras:
in parallel branches, the convolutions at one distance come first, then their batch norms. The order
is derived from the names of this package's layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Branches of an Inception block, and of a ResNet unit, where the shortcut comes first.
BRANCH = re.compile(
    r"(?P<block>.*)/(Branch_(?P<number>\d+)/.*|(?P<shortcut>shortcut)|(?P<residual>conv\d))$"
)
BATCH_NORM = "BatchNorm/"
# Leaf of a TF-Slim name -> attribute of a Keras layer.
ATTRIBUTES = {"weights": "kernel", "biases": "bias"}

# A Keras layer: its attribute (`kernel`, `gamma`, ...) -> our variable's name.
KerasLayer = dict[str, str]


def keras_layers(names: Iterable[str], scope: str) -> list[KerasLayer]:
    """Return the layers with weights of one part of a network, in Keras' order.

    Args:
        names: names of the variables of the detector, in the order of its layers.
        scope: scope of the part, such as `FirstStageFeatureExtractor/resnet_v1_50_keras/`.
    """
    blocks: dict[str, dict[str, dict[str, list[str]]]] = {}
    for name in names:
        if name.startswith(scope):
            layer = _layer_of(name[len(scope) :])
            block, branch = _place(layer)
            blocks.setdefault(block, {}).setdefault(branch, {}).setdefault(layer, []).append(name)
    return [layer for branches in blocks.values() for layer in _in_order(branches, len(scope))]


def _layer_of(name: str) -> str:
    return name.split(f"/{BATCH_NORM}")[0] if BATCH_NORM in name else name.rsplit("/", 1)[0]


def _place(layer: str) -> tuple[str, str]:
    """Return the block of a layer and its branch there."""
    match = BRANCH.match(layer)
    if match is None:
        return layer, ""
    branch = match["number"] or ("0" if match["shortcut"] else "1")
    return match["block"], branch


def _in_order(branches: dict[str, dict[str, list[str]]], start: int) -> list[KerasLayer]:
    """Return the layers of one block, from the longest distance to the output to the shortest."""
    rows = [list(branches[key].values()) for key in sorted(branches)]
    layers: list[KerasLayer] = []
    for distance in range(max(map(len, rows)), 0, -1):
        level = [row[-distance] for row in rows if len(row) >= distance]
        for is_batch_norm in (False, True):
            for group in level:
                attributes = {
                    _attribute(name): name
                    for name in group
                    if (BATCH_NORM in name[start:]) == is_batch_norm
                }
                if attributes:
                    layers.append(attributes)
    return layers


def _attribute(name: str) -> str:
    leaf = name.rsplit("/", 1)[1]
    return ATTRIBUTES.get(leaf, leaf)
