"""Bits of many seeds at once are TensorFlow's bits of each seed."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.mtl.labels import window_sampling

SEEDS = np.array([[0, 0], [3, 4], [-1, 2**31 - 1], [-(2**31), 7]], np.int32)


def tensorflow_bits(seed, shape):
    return tf.random.stateless_uniform(
        shape, seed, dtype=tf.int32, minval=None, maxval=None, alg="philox"
    )


@pytest.mark.parametrize("how", ["eager", "graph", "unknown number", "jit"])
def test_bits_are_those_of_tensorflow(how):
    calls = {
        "eager": window_sampling.uniform_bits,
        "graph": tf.function(window_sampling.uniform_bits, autograph=False),
        "jit": tf.function(window_sampling.uniform_bits, jit_compile=True, autograph=False),
        "unknown number": tf.function(
            lambda seeds, shape: window_sampling.uniform_bits(
                tf.ensure_shape(tf.boolean_mask(seeds, seeds[:, 0] < 9), [None, 2]), shape
            ),
            autograph=False,
        ),
    }
    found = calls[how](tf.constant(SEEDS), (5, 2)).numpy()
    for row, seed in zip(found, SEEDS, strict=True):
        np.testing.assert_array_equal(row, tensorflow_bits(seed, [5, 2]))


def test_folding_is_that_of_tensorflow():
    found = window_sampling.fold_in(tf.constant(SEEDS), tf.constant(6)).numpy()
    for row, seed in zip(found, SEEDS, strict=True):
        expected = tf.random.experimental.stateless_fold_in(seed, 6, alg="philox")
        np.testing.assert_array_equal(row, expected)
