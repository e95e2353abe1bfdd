"""Real object-graph checkpoint files for tests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.checkpoints.checkpoint_files import OBJECT_GRAPH_KEY, VALUE_SUFFIX

NAMES = Path(__file__).parents[1] / "golden/odapi_tf2_names.json.gz"


def odapi_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape of what a training of the OD API in TensorFlow 2 wrote, without slots."""
    with gzip.open(NAMES) as file:
        return {key: tuple(shape) for key, shape in json.load(file)[model].items()}


def random_values(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Other numbers for every variable; counters are 3."""
    random = np.random.default_rng(seed)
    return {
        key: random.random(shape, np.float32) if shape else np.array(3, np.int64)
        for key, shape in shapes.items()
    }


def write_objects(prefix: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Saves a tree of objects whose variables get the keys of `arrays`; returns the prefix."""
    root: dict[str, Any] = {}
    for key, array in arrays.items():
        *scopes, leaf = key.removesuffix(VALUE_SUFFIX).split("/")
        node = root
        for scope in scopes:
            node = node.setdefault(scope, {})
        node[leaf] = tf.Variable(array)
    module = tf.Module()
    for name, child in root.items():
        setattr(module, name, child)
    return tf.train.Checkpoint(root=module).write(str(prefix))


def write_keys(prefix: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """The same for keys that only an optimizer can give: the tensors, with an empty graph."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=[*arrays, OBJECT_GRAPH_KEY],
        shape_and_slices=[""] * (len(arrays) + 1),
        tensors=[*map(tf.constant, arrays.values()), tf.constant(b"")],
    )
    return str(prefix)
