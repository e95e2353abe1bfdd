"""The linearized separable convolution, by hand and against samples."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import mobilenet_v1
from object_detection_mtl.checkpoints import slim
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint

SHARED = Path(os.environ.get("ODMTL_SHARED", Path(__file__).resolve().parents[3] / "shared"))
REAL_CHECKPOINT = SHARED / "weights/mobilenet_v1_1.0_224/mobilenet_v1_1.0_224.ckpt"


def linearize(gamma, beta, moving_mean=0.0, moving_variance=1.0 - slim.EPSILON):
    """One channel, kernels of ones, next moving mean 10."""
    return slim.linearize(
        np.ones((1, 1, 1, 1), np.float32),
        *(np.array([v], np.float32) for v in (gamma, beta, moving_mean, moving_variance)),
        np.ones((1, 1, 1, 1), np.float32),
        np.array([10.0], np.float32),
    )


def test_relu6_that_does_nothing_is_folded_exactly():
    # Values of 3 +- 0.5 never leave 0..6: y = 0.5 x + 3, with x the depthwise output.
    folded = linearize(gamma=0.5, beta=3.0)
    np.testing.assert_allclose(folded.depthwise[0, 0, 0, 0], 0.5, rtol=1e-6)
    np.testing.assert_allclose(folded.moving_mean, [10.0 - 3.0], rtol=1e-6)
    # A mean of 2 and a variance of 4 (deviation 2): y = 0.5 (x - 2) / 2 + 3.
    folded = linearize(gamma=0.5, beta=3.0, moving_mean=2.0, moving_variance=4.0 - slim.EPSILON)
    np.testing.assert_allclose(folded.depthwise[0, 0, 0, 0], 0.25, rtol=1e-6)
    np.testing.assert_allclose(folded.moving_mean, [10.0 - 2.5], rtol=1e-6)


def test_half_of_a_normal_distribution():
    # ReLU of N(0, 0.1): slope P(x > 0) = 1/2, mean 0.1 / sqrt(2 pi).
    folded = linearize(gamma=0.1, beta=0.0)
    np.testing.assert_allclose(folded.depthwise[0, 0, 0, 0], 0.05, rtol=1e-6)
    np.testing.assert_allclose(folded.moving_mean, [10.0 - 0.1 / math.sqrt(2 * math.pi)], rtol=1e-6)


def test_dead_and_constant_channels():
    # gamma = 0: the constant relu6(beta); beta = -1 and 8 lie outside 0..6.
    for beta, constant in ((-1.0, 0.0), (2.0, 2.0), (8.0, 6.0)):
        folded = linearize(gamma=0.0, beta=beta)
        assert folded.depthwise[0, 0, 0, 0] == 0.0
        np.testing.assert_allclose(folded.moving_mean, [10.0 - constant], atol=1e-6)


def test_it_is_the_least_squares_line():
    rng = np.random.RandomState(0)
    for gamma, beta in ((1.5, 0.5), (-2.0, 4.0), (0.7, -0.6)):
        x = rng.standard_normal(400_000)
        y = np.clip(gamma * x + beta, 0.0, 6.0)
        slope, offset = np.polyfit(x, y, 1)
        folded = linearize(gamma=gamma, beta=beta)
        np.testing.assert_allclose(folded.depthwise[0, 0, 0, 0], slope, atol=5e-3)
        np.testing.assert_allclose(10.0 - folded.moving_mean, [offset], atol=5e-3)


@pytest.mark.skipif(not Path(f"{REAL_CHECKPOINT}.index").exists(), reason="no real checkpoint here")
def test_real_second_stage_is_close_to_the_classifiers_own():
    checkpoint = open_checkpoint(REAL_CHECKPOINT)
    backbone = mobilenet_v1.build()
    stage2 = backbone.make_stage2("stage2")
    layer = stage2.get_layer("Conv2d_12_pointwise")
    names = {
        f"SecondStageFeatureExtractor/MobilenetV1/Conv2d_12_pointwise/{suffix}": variable
        for suffix, variable in layer.tf_slim_variables().items()
    }
    values = slim.values(checkpoint, names, "MobilenetV1")
    assert values.keys() == names.keys()
    for name, variable in names.items():
        variable.assign(values[name].load())

    def read(name):
        return checkpoint.read(f"MobilenetV1/{name}")

    def batch_norm(x, layer):
        mean, variance, beta, gamma = (
            read(f"{layer}/BatchNorm/{statistic}")
            for statistic in ("moving_mean", "moving_variance", "beta", "gamma")
        )
        x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, slim.EPSILON)
        return tf.nn.relu6(x)

    # Outputs of the layer before: ReLU6 of a batch norm with known statistics.
    rng = np.random.RandomState(0)
    beta, gamma = (read(f"Conv2d_11_pointwise/BatchNorm/{s}") for s in ("beta", "gamma"))
    features = np.clip(rng.standard_normal((2, 14, 14, 512)) * gamma + beta, 0, 6)
    features = tf.constant(features, tf.float32)
    wanted = tf.nn.depthwise_conv2d(
        features, read("Conv2d_12_depthwise/depthwise_weights"), [1, 2, 2, 1], "SAME"
    )
    wanted = batch_norm(wanted, "Conv2d_12_depthwise")
    wanted = tf.nn.conv2d(wanted, read("Conv2d_12_pointwise/weights"), 1, "SAME")
    wanted = batch_norm(wanted, "Conv2d_12_pointwise").numpy().ravel()
    got = layer(features).numpy().ravel()
    assert np.corrcoef(got, wanted)[0, 1] > 0.9
    # Names alone leave the kernels at random; the same comparison for the bare kernels:
    layer.depthwise_kernel.assign(read("Conv2d_12_depthwise/depthwise_weights"))
    layer.moving_mean.assign(read("Conv2d_12_pointwise/BatchNorm/moving_mean"))
    bare = layer(features).numpy().ravel()
    assert np.corrcoef(bare, wanted)[0, 1] < 0.5
