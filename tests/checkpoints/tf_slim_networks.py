"""TF-Slim's own networks, run in a TF1 graph, and the checkpoint files that they write."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.golden.weight_rule import make_weight


def slim_module(name: str) -> Any:
    """Import `tf_slim.nets.<name>`.

    TF-Slim looks for the TF1 layers of Keras where they no longer are.
    """
    layers = importlib.import_module("tf_keras.src.legacy_tf_layers")
    sys.modules.setdefault("tf_keras.legacy_tf_layers", layers)
    normalization = importlib.import_module("tf_keras.src.legacy_tf_layers.normalization")
    sys.modules.setdefault("tf_keras.legacy_tf_layers.normalization", normalization)
    return importlib.import_module(f"tf_slim.nets.{name}")


def run_resnet_v1(
    num_layers: int, images: np.ndarray, output_strides: tuple[int | None, ...], prefix: Path
) -> dict[int | None, Mapping[str, np.ndarray]]:
    """Run the classifier with weights made from its variables' names, and save them.

    Args:
        num_layers: 50, 101 or 152.
        images: [B, H, W, 3], normalized.
        output_strides: the network is built once for each; None is the classifier as it is.
        prefix: of the checkpoint that is written.

    Returns:
        output stride -> end point, such as `resnet_v1_50/block3` -> features.
    """
    module = slim_module("resnet_v1")
    network = getattr(module, f"resnet_v1_{num_layers}")

    def build(inputs: tf.Tensor) -> dict[int | None, Mapping[str, tf.Tensor]]:
        points = {}
        for stride in output_strides:
            _, points[stride] = network(
                inputs,
                num_classes=10,
                is_training=False,
                global_pool=stride is None,
                output_stride=stride,
                reuse=tf.compat.v1.AUTO_REUSE,
            )
        return points

    return _run_network(build, module.resnet_arg_scope(), images, prefix)


def run_inception_v2(
    images: np.ndarray, prefix: Path, *, as_in_detectors: bool = False, **options: Any
) -> Mapping[str, np.ndarray]:
    """Run the classifier with weights made from its variables' names, and save them.

    Args:
        images: [B, H, W, 3], normalized.
        prefix: of the checkpoint that is written.
        as_in_detectors: normalize after the first convolution too, and with a gamma, as the OD API
            does.
        **options: of `tf_slim.nets.inception_v2.inception_v2`.

    Returns:
        end point, such as `Mixed_4e` -> features.
    """
    module = slim_module("inception_v2")

    def build(inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
        _, points = module.inception_v2(
            inputs, num_classes=10, is_training=False, spatial_squeeze=False, **options
        )
        return points

    arg_scope = module.inception_v2_arg_scope()
    if as_in_detectors:
        slim = importlib.import_module("tf_slim")
        normalization = {"scale": True, "decay": 0.9997, "epsilon": 0.001}
        with slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d],
            normalizer_fn=slim.batch_norm,
            normalizer_params=normalization,
        ) as arg_scope:
            pass
    return _run_network(build, arg_scope, images, prefix)


def _run_network(
    build: Callable[[tf.Tensor], Any], arg_scope: Any, images: np.ndarray, prefix: Path
) -> Any:
    """Return the end points of `build` on images; write its weights to a checkpoint."""
    v1 = tf.compat.v1
    slim_scope = importlib.import_module("tf_slim").arg_scope
    with tf.Graph().as_default(), v1.Session() as session:
        with slim_scope(arg_scope):
            points = build(tf.constant(images))
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
