"""`Hyperparams` messages to layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.protos import hyperparams_pb2


def build(text: str):
    return hyperparams_builder.build(text_format.Parse(text, hyperparams_pb2.Hyperparams()))


def sample(text: str, shape=(400, 500)) -> np.ndarray:
    initializer = build(f"initializer {{ {text} }}").kernel_options()["kernel_initializer"]
    return np.asarray(initializer(shape))


def test_l2_is_weight_times_half_the_sum_of_squares():
    regularizer = build("regularizer { l2_regularizer { weight: 0.5 } }").kernel_options()[
        "kernel_regularizer"
    ]
    assert float(regularizer(tf.constant([1.0, 3.0]))) == pytest.approx(0.5 * 10.0 / 2.0)


def test_l1_is_weight_times_the_sum_of_absolutes():
    regularizer = build("regularizer { l1_regularizer { weight: 0.5 } }").kernel_options()[
        "kernel_regularizer"
    ]
    assert float(regularizer(tf.constant([1.0, -3.0]))) == pytest.approx(2.0)


def test_the_defaults_are_a_truncated_normal_without_regularizer():
    options = build("").kernel_options()
    assert options["kernel_regularizer"] is None
    assert np.asarray(options["kernel_initializer"]((400, 500))).std() == pytest.approx(
        0.03 * 0.88, rel=0.02
    )


@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        # Cutting a normal distribution at two deviations leaves 0.8796 of its deviation.
        ("truncated_normal_initializer { stddev: 0.01 }", 0.0, 0.008796),
        ("truncated_normal_initializer { mean: 2.0 stddev: 0.01 }", 2.0, 0.008796),
        ("random_normal_initializer { mean: -1.0 stddev: 0.5 }", -1.0, 0.5),
        ("variance_scaling_initializer { factor: 2.0 }", 0.0, np.sqrt(2.0 / 400)),
        ("variance_scaling_initializer { factor: 2.0 mode: FAN_OUT }", 0.0, np.sqrt(2.0 / 500)),
        (
            "variance_scaling_initializer { factor: 1.0 mode: FAN_AVG uniform: true }",
            0.0,
            np.sqrt(1.0 / 450),
        ),
        ('keras_initializer_by_name: "he_normal"', 0.0, np.sqrt(2.0 / 400)),
    ],
)
def test_initializers(text, mean, deviation):
    values = sample(text)
    assert values.mean() == pytest.approx(mean, abs=0.01 * max(deviation, abs(mean), 0.1))
    assert values.std() == pytest.approx(deviation, rel=0.02)


def test_two_layers_of_one_description_differ():
    description = build("initializer { random_normal_initializer { stddev: 1.0 } }")
    first, second = (keras.layers.Dense(4, **description.kernel_options()) for _ in range(2))
    first.build((None, 4))
    second.build((None, 4))
    assert np.abs(first.kernel.numpy() - second.kernel.numpy()).max() > 0.01


@pytest.mark.parametrize(
    ("name", "expected"), [("NONE", None), ("RELU", 8.0), ("RELU_6", 6.0), ("SWISH", 7.9973)]
)
def test_activations(name, expected):
    activation = build(f"activation: {name}").activation
    if expected is None:
        assert activation is None
    else:
        assert float(activation(tf.constant(8.0))) == pytest.approx(expected, rel=1e-4)


def test_a_normalizer_is_refused():
    with pytest.raises(ValueError, match="batch_norm"):
        build("batch_norm { decay: 0.9 }")
