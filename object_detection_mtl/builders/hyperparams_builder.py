"""`Hyperparams` -> initializers, regularizers and activations of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from object_detection_mtl.predictors.predictor_layers import LayerHyperparams
from object_detection_mtl.protos import hyperparams_pb2

ACTIVATIONS = {
    hyperparams_pb2.Hyperparams.NONE: None,
    hyperparams_pb2.Hyperparams.RELU: tf.nn.relu,
    hyperparams_pb2.Hyperparams.RELU_6: tf.nn.relu6,
    hyperparams_pb2.Hyperparams.SWISH: tf.nn.swish,
}
_MODES = {
    hyperparams_pb2.VarianceScalingInitializer.FAN_IN: "fan_in",
    hyperparams_pb2.VarianceScalingInitializer.FAN_OUT: "fan_out",
    hyperparams_pb2.VarianceScalingInitializer.FAN_AVG: "fan_avg",
}


def build(config: hyperparams_pb2.Hyperparams) -> LayerHyperparams:
    """Return the layer description of one `Hyperparams` message.

    Raises:
        ValueError: it sets a normalizer, which these layers do not support.
    """
    normalizer = config.WhichOneof("normalizer_oneof")
    if normalizer is not None:
        raise ValueError(
            f"hyperparams {{ {normalizer} }} is not supported in Faster R-CNN predictors: "
            "their layers have biases and no normalization. Remove it."
        )
    return LayerHyperparams(
        initializer=initializer(config.initializer),
        regularizer=regularizer(config.regularizer),
        activation=activation(config),
    )


def activation(config: hyperparams_pb2.Hyperparams) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Return the activation function; None for NONE."""
    return ACTIVATIONS[config.activation]


def regularizer(config: hyperparams_pb2.Regularizer) -> dict[str, Any] | None:
    """Return a Keras description of weight * sum|w| or weight * sum(w^2) / 2 (as TF-Slim)."""
    kind = config.WhichOneof("regularizer_oneof")
    if kind == "l1_regularizer":
        return {"class_name": "L1", "config": {"l1": config.l1_regularizer.weight}}
    if kind == "l2_regularizer":
        return l2(config.l2_regularizer.weight)
    return None


def l2(weight: float) -> dict[str, Any]:
    """Return the Keras description of weight * sum(w^2) / 2."""
    return {"class_name": "L2", "config": {"l2": weight / 2.0}}


def initializer(config: hyperparams_pb2.Initializer) -> dict[str, Any]:
    """Return a Keras description; by default the OD API's truncated normal of 0.03."""
    kind = config.WhichOneof("initializer_oneof")
    if kind == "truncated_normal_initializer":
        truncated = config.truncated_normal_initializer
        return _described("TruncatedNormal", mean=truncated.mean, stddev=truncated.stddev)
    if kind == "random_normal_initializer":
        normal = config.random_normal_initializer
        return _described("RandomNormal", mean=normal.mean, stddev=normal.stddev)
    if kind == "variance_scaling_initializer":
        scaling = config.variance_scaling_initializer
        return _described(
            "VarianceScaling",
            scale=scaling.factor,
            mode=_MODES[scaling.mode],
            distribution="uniform" if scaling.uniform else "truncated_normal",
        )
    if kind == "keras_initializer_by_name":
        return {"class_name": config.keras_initializer_by_name, "config": {}}
    return LayerHyperparams().initializer


def _described(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}
