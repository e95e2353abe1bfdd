"""Clipping, multipliers and the choice of variables, by hand."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.training import gradients

# L2 norms 5 and 12; together 13.
A, B = tf.constant([3.0, 4.0]), tf.constant([[12.0]])


def test_no_limit_measures_only():
    clipped, norm = gradients.clip([A, B], 0.0, per_variable=False)
    assert float(norm) == 13.0
    np.testing.assert_array_equal(clipped[0], A)


def test_global_norm():
    clipped, norm = gradients.clip([A, B], 6.5, per_variable=False)
    np.testing.assert_allclose(clipped[0], [1.5, 2.0])
    np.testing.assert_allclose(clipped[1], [[6.0]])
    assert float(norm) == 13.0
    unchanged, _ = gradients.clip([A, B], 13.5, per_variable=False)
    np.testing.assert_array_equal(unchanged[0], A)


def test_each_variable_alone():
    clipped, norm = gradients.clip([A, B], 6.0, per_variable=True)
    np.testing.assert_array_equal(clipped[0], A)
    np.testing.assert_allclose(clipped[1], [[6.0]])
    assert float(norm) == 13.0


def test_agrees_with_tensorflows_own():
    rng = np.random.RandomState(0)
    values = [tf.constant(rng.randn(4, 3) * scale, tf.float32) for scale in (0.1, 1.0, 10.0)]
    expected, _ = tf.clip_by_global_norm(values, 2.0)
    for got, want in zip(gradients.clip(values, 2.0, per_variable=False)[0], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    for got, value in zip(gradients.clip(values, 2.0, per_variable=True)[0], values, strict=True):
        np.testing.assert_allclose(got, tf.clip_by_norm(value, 2.0), rtol=1e-5)


def test_zero_gradient_stays_zero():
    clipped, norm = gradients.clip([tf.zeros([2])], 1.0, per_variable=True)
    np.testing.assert_array_equal(clipped[0], [0.0, 0.0])
    assert float(norm) == 0.0


def test_multipliers():
    names = ["A/weights", "A/biases", "A/BatchNorm/beta", "biases/weights"]
    assert gradients.multipliers(names, everything=0.0, biases=0.0) == [1.0] * 4
    assert gradients.multipliers(names, everything=0.5, biases=2.0) == [0.5, 1.0, 0.5, 0.5]


@pytest.fixture
def names():
    return {
        name: keras.Variable([0.0])
        for name in ("First/conv1/weights", "First/conv2/weights", "Second/fc/biases")
    }


def chosen(names, trainable=None, **patterns):
    trainable = names.values() if trainable is None else trainable
    return list(gradients.trained_variables(names, trainable, **patterns))


def test_patterns_choose_variables(names):
    assert chosen(names) == list(names)
    assert chosen(names, trainable=[names["Second/fc/biases"]]) == ["Second/fc/biases"]
    assert chosen(names, freeze_patterns=["conv[12]"]) == ["Second/fc/biases"]
    assert chosen(names, update_patterns=["First/.*", "biases"], freeze_patterns=["conv1"]) == [
        "First/conv2/weights",
        "Second/fc/biases",
    ]


def test_patterns_that_cannot_be_meant(names, caplog):
    with pytest.raises(ValueError, match="there is nothing to train"):
        chosen(names, freeze_patterns=[".*"])
    with pytest.raises(ValueError, match=r"freeze_variables: 'conv\(' is not a regular expression"):
        chosen(names, freeze_patterns=["conv("])
    with caplog.at_level(logging.WARNING):
        chosen(names, freeze_patterns=["block4"])
    assert "'block4' matches no variable; names look like First/conv1/weights" in caplog.text
