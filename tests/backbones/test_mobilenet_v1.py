"""MobileNet v1: shapes, batch norm folded and not, agreement with Keras' own network."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import mobilenet_v1
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm


def randomize(model: keras.Model) -> None:
    random = np.random.RandomState(0)
    for variable in model.variables:
        if "variance" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        else:
            variable.assign(random.standard_normal(variable.shape) * 0.2)


def test_shapes():
    backbone = mobilenet_v1.build()
    features = backbone.stage1(tf.zeros([2, 65, 100, 3]))
    assert features.shape == (2, 5, 7, 512)
    assert backbone.make_stage2("stage2")(tf.zeros([3, 7, 7, 512])).shape == (3, 4, 4, 1024)


def test_depth_multiplier_keeps_the_least_depth():
    backbone = mobilenet_v1.build(depth_multiplier=0.25, min_depth=16)
    assert backbone.stage1.get_layer("Conv2d_0").filters == 16
    assert backbone.stage1.output_shape[-1] == 128
    assert backbone.make_stage2("stage2").output_shape[-1] == 256


def test_conv_depth_ratio_and_multiplier():
    backbone = mobilenet_v1.build(conv_depth_ratio=0.75, depth_multiplier=0.5, min_depth=8)
    assert backbone.stage1.get_layer("Conv2d_0").filters == 12
    assert backbone.stage1.output_shape[-1] == 192
    assert backbone.make_stage2("stage2").output_shape[-1] == 384


def test_the_last_stride_can_be_skipped():
    stage2 = mobilenet_v1.build(skip_last_stride=True).make_stage2("stage2")
    assert stage2(tf.zeros([3, 7, 7, 512])).shape == (3, 7, 7, 1024)


def test_normalize_maps_bytes_to_minus_one_to_one():
    np.testing.assert_allclose(mobilenet_v1.normalize(tf.constant([0.0, 127.5, 255.0])), [-1, 0, 1])


@pytest.mark.parametrize("depthwise", [False, True])
def test_frozen_batch_norm_equals_the_plain_formula(depthwise):
    layer = ConvBatchNorm(
        None if depthwise else 5, 3, strides=2, depthwise=depthwise, activation=tf.nn.relu6
    )
    inputs = tf.constant(np.random.RandomState(1).standard_normal((2, 9, 8, 4)), tf.float32)
    layer.build(inputs.shape)
    random = np.random.RandomState(2)
    for variable in layer.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    if depthwise:
        plain = tf.nn.depthwise_conv2d(inputs, layer.kernel, [1, 2, 2, 1], "SAME")
    else:
        plain = tf.nn.conv2d(inputs, layer.kernel, 2, "SAME")
    normalized = (plain - layer.moving_mean) / np.sqrt(layer.moving_variance.numpy() + 1e-3)
    expected = tf.nn.relu6(normalized * layer.gamma + layer.beta)
    for training in (False, True):
        np.testing.assert_allclose(layer(inputs, training=training), expected, atol=1e-5)


def test_trained_batch_norm_normalizes_the_batch_and_keeps_averages():
    layer = ConvBatchNorm(3, 1, batch_norm_trainable=True, momentum=0.75)
    inputs = tf.constant(np.random.RandomState(1).standard_normal((4, 6, 6, 2)), tf.float32)
    outputs = layer(inputs, training=True).numpy()
    np.testing.assert_allclose(outputs.mean((0, 1, 2)), 0.0, atol=1e-5)
    plain = tf.nn.conv2d(inputs, layer.kernel, 1, "SAME").numpy()
    variance = plain.var((0, 1, 2))
    np.testing.assert_allclose(
        outputs.var((0, 1, 2)), variance / (variance + layer.epsilon), rtol=1e-4
    )
    np.testing.assert_allclose(layer.moving_mean, 0.25 * plain.mean((0, 1, 2)), atol=1e-6)
    assert not np.allclose(layer(inputs, training=False), outputs, atol=1e-2)


def test_without_gamma():
    layer = ConvBatchNorm(3, 1, scale=False)
    layer.build((None, 4, 4, 2))
    assert set(layer.tf_slim_variables()) == {
        "weights",
        "BatchNorm/beta",
        "BatchNorm/moving_mean",
        "BatchNorm/moving_variance",
    }


def test_depthwise_and_filters_contradict():
    with pytest.raises(ValueError, match="filters=3 with depthwise=True"):
        ConvBatchNorm(3, 3, depthwise=True)


def test_two_layers_start_with_different_weights():
    stage1 = mobilenet_v1.build().stage1
    first, second = (stage1.get_layer(f"Conv2d_{i}_pointwise").kernel for i in (8, 9))
    assert first.shape == second.shape
    assert np.abs(first.numpy() - second.numpy()).max() > 0.01


def test_stage1_equals_keras_applications():
    # Keras pads strided depthwise convolutions below and to the right, as SAME does on even sides.
    size = 96
    theirs = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(96, 96, 3))
    ours = mobilenet_v1.build().stage1
    randomize(theirs)
    names = {"Conv2d_0": "conv1"}
    for i in range(1, 12):
        names |= {f"Conv2d_{i}_depthwise": f"conv_dw_{i}", f"Conv2d_{i}_pointwise": f"conv_pw_{i}"}
    for mine, other in names.items():
        layer = ours.get_layer(mine)
        layer.kernel.assign(theirs.get_layer(other).kernel)
        norm = theirs.get_layer(f"{other}_bn")
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            getattr(layer, name).assign(getattr(norm, name))
    image = np.random.RandomState(3).standard_normal((1, size, size, 3)).astype(np.float32)
    reference = keras.Model(theirs.input, theirs.get_layer("conv_pw_11_relu").output)(image)
    assert np.abs(reference).max() > 0.1
    np.testing.assert_allclose(ours(image), reference, atol=1e-4 * np.abs(reference).max())


def test_names_are_those_of_tf_slim():
    backbone = mobilenet_v1.build()
    names = checkpoint_names(backbone.stage1, "MobilenetV1")
    assert len(names) == 5 * 23
    assert names["MobilenetV1/Conv2d_3_depthwise/depthwise_weights"].shape == (3, 3, 128, 1)
    assert "MobilenetV1/Conv2d_0/BatchNorm/moving_variance" in names
    names = checkpoint_names(backbone.make_stage2("stage2"), "MobilenetV1")
    assert set(names) == {
        f"MobilenetV1/Conv2d_{i}_pointwise/{suffix}"
        for i in (12, 13)
        for suffix in (
            "depthwise_weights",
            "pointwise_weights",
            "BatchNorm/gamma",
            "BatchNorm/beta",
            "BatchNorm/moving_mean",
            "BatchNorm/moving_variance",
        )
    }
