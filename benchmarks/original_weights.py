"""Weights to begin with where the ImageNet checkpoint that a configuration names is not at hand.

    python -m benchmarks.original_weights CONFIG PREFIX

Writes random values under the names TF-Slim's checkpoint of the network has, so that training
begins as with the real one. With the first weights of the layers themselves it would not: batch
norm is frozen, and without its normalising the features of ResNet-101 grow to 1e7.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.config import pipeline

# The last batch norm of a residual unit: 33 units then add up to four times the first's variance.
RESIDUAL_GAMMA = 0.2


def values(name: str, shape: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Like those of a trained network: a layer keeps the size of its inputs."""
    if name.endswith("weights"):
        fan_in = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
        return rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(np.float32)
    if name.endswith("conv3/BatchNorm/gamma"):
        return np.full(shape, RESIDUAL_GAMMA, np.float32)
    scales = name.endswith(("gamma", "moving_variance"))
    return np.full(shape, 1.0 if scales else 0.0, np.float32)


def write(config_path: str, prefix: str) -> None:
    """A name-based checkpoint of the network in the config's detector."""
    detector = model_builder.build(pipeline.load(config_path).model, is_training=True)
    rng = np.random.RandomState(0)
    arrays = {}
    for name, variable in tf1_detection.name_map(detector).items():
        part, _, slim_name = name.partition("/")
        if part.endswith("StageFeatureExtractor"):
            arrays[slim_name] = values(slim_name, tuple(variable.shape), rng)
    names = sorted(arrays)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[arrays[name] for name in names],
    )


if __name__ == "__main__":
    write(*sys.argv[1:])
