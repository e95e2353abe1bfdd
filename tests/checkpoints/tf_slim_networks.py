"""TF-Slim's own ResNet, run in a TF1 graph, and the checkpoint file that it writes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.weight_rule import make_weight


def resnet_v1_module() -> Any:
    """`tf_slim.nets.resnet_v1`.

    TF-Slim looks for the TF1 layers of Keras where they no longer are.
    """
    layers = importlib.import_module("tf_keras.src.legacy_tf_layers")
    sys.modules.setdefault("tf_keras.legacy_tf_layers", layers)
    normalization = importlib.import_module("tf_keras.src.legacy_tf_layers.normalization")
    sys.modules.setdefault("tf_keras.legacy_tf_layers.normalization", normalization)
    return importlib.import_module("tf_slim.nets.resnet_v1")


def run_resnet_v1(
    num_layers: int, images: np.ndarray, output_strides: tuple[int | None, ...], prefix: Path
) -> dict[int | None, Mapping[str, np.ndarray]]:
    """Runs the classifier with weights made from its variables' names, and saves them.

    Args:
        num_layers: 50, 101 or 152.
        images: [B, H, W, 3], normalised.
        output_strides: the network is built once for each; None is the classifier as it is.
        prefix: of the checkpoint that is written.

    Returns:
        output stride -> end point, such as `resnet_v1_50/block3` -> features.
    """
    v1 = tf.compat.v1
    module = resnet_v1_module()
    network = getattr(module, f"resnet_v1_{num_layers}")
    arg_scope = importlib.import_module("tf_slim").arg_scope
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = tf.constant(images)
        points = {}
        with arg_scope(module.resnet_arg_scope()):
            for stride in output_strides:
                _, points[stride] = network(
                    inputs,
                    num_classes=10,
                    is_training=False,
                    global_pool=stride is None,
                    output_stride=stride,
                    reuse=v1.AUTO_REUSE,
                )
        variables = v1.global_variables()
        session.run(
            [variable.initializer for variable in variables],
            {
                variable.initializer.inputs[1]: make_weight(
                    variable.op.name, tuple(variable.shape.as_list())
                )
                for variable in variables
            },
        )
        v1.train.Saver(variables).save(
            session, str(prefix), write_meta_graph=False, write_state=False
        )
        return session.run(points)
