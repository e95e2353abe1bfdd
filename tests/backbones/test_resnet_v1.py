"""ResNet v1: shapes, strides, what trains, names; `test_slim_resnet_v1` compares the numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import resnet_v1
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm


@pytest.fixture(scope="module")
def resnet50():
    return resnet_v1.build(num_layers=50)


def trained(model) -> set[str]:
    """Names of the blocks (and conv1) with trainable variables."""
    return {layer.name.split(".")[0] for layer in model.layers if layer.trainable_variables}


def test_shapes(resnet50):
    assert resnet50.stage1(tf.zeros([2, 65, 100, 3])).shape == (2, 5, 7, 1024)
    stage2 = resnet50.make_stage2("stage2")
    assert stage2(tf.zeros([3, 7, 7, 1024])).shape == (3, 7, 7, 2048)


def test_stride_8_dilates_instead_of_halving():
    assert [block[:5] for block in resnet_v1.stage1_blocks(101, 16)] == [
        ("block1", 3, 64, 2, 1),
        ("block2", 4, 128, 2, 1),
        ("block3", 23, 256, 1, 1),
    ]
    assert [block[:5] for block in resnet_v1.stage1_blocks(152, 8)] == [
        ("block1", 3, 64, 2, 1),
        ("block2", 8, 128, 1, 1),
        ("block3", 36, 256, 1, 2),
    ]


def test_normalize_takes_the_mean_away():
    pixel = tf.constant([[[[123.68, 116.779, 104.939]]]])
    np.testing.assert_allclose(resnet_v1.normalize(pixel)[0, 0, 0], [0, 0, 1], atol=1e-4)


def test_the_last_unit_of_a_block_has_the_stride(resnet50):
    strided = {
        layer.name
        for layer in resnet50.stage1.layers
        if isinstance(layer, ConvBatchNorm) and layer.strides > 1
    }
    assert strided == {
        "conv1",
        "block1.unit_3.bottleneck_v1.conv2",
        "block2.unit_4.bottleneck_v1.conv2",
    }


def test_conv1_and_batch_norm_never_train(resnet50):
    assert trained(resnet50.stage1) == {"block1", "block2", "block3"}
    names = {variable.name for variable in resnet50.stage1.trainable_variables}
    assert names == {"kernel"}


def test_frozen_blocks():
    backbone = resnet_v1.build(num_layers=50, frozen_blocks=2, batch_norm_trainable=True)
    assert trained(backbone.stage1) == {"block3"}
    assert trained(backbone.make_stage2("stage2")) == {"block4"}
    names = {variable.name for variable in backbone.stage1.trainable_variables}
    assert names == {"kernel", "gamma", "beta"}


def test_nothing_trains_when_the_network_is_frozen():
    backbone = resnet_v1.build(num_layers=50, trainable=False)
    assert not backbone.stage1.trainable_variables
    assert not backbone.make_stage2("stage2").trainable_variables


def test_the_keras_form_strides_first_and_trains_everything():
    backbone = resnet_v1.build(num_layers=50, keras_form=True)
    assert backbone.scope == "resnet_v1_50_keras"
    stages = (backbone.stage1, backbone.make_stage2("stage2"))
    assert stages[0](tf.zeros([1, 65, 100, 3])).shape == (1, 5, 7, 1024)
    assert stages[1](tf.zeros([3, 7, 7, 1024])).shape == (3, 4, 4, 2048)
    strided = {
        layer.name
        for stage in stages
        for layer in stage.layers
        if isinstance(layer, ConvBatchNorm) and layer.strides > 1
    }
    assert strided == {"conv1"} | {
        f"block{block}.unit_1.bottleneck_v1.{convolution}"
        for block in (2, 3, 4)
        for convolution in ("conv1", "shortcut")
    }
    assert trained(backbone.stage1) == {"conv1", "block1", "block2", "block3"}
    names = {variable.name for variable in backbone.stage1.trainable_variables}
    assert names == {"kernel", "gamma", "beta"}
    frozen = resnet_v1.build(num_layers=50, keras_form=True, frozen_blocks=1)
    assert trained(frozen.stage1) == {"block2", "block3"}


def test_the_keras_form_equals_keras_applications():
    """From the first pooling on: around it Keras pads otherwise than the OD API's network."""
    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(97, 97, 3))
    random = np.random.RandomState(0)
    for variable in network.variables:
        if "variance" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name != "kernel":  # kernels keep their start
            variable.assign(random.uniform(0.2, 0.5, variable.shape))
    backbone = resnet_v1.build(num_layers=50, keras_form=True)
    stage2 = backbone.make_stage2("stage2")
    for stage in (backbone.stage1, stage2):
        for layer in stage.layers:
            if isinstance(layer, ConvBatchNorm):
                copy_from_keras(layer, network)
    pool, conv4 = network.get_layer("pool1_pool"), network.get_layer("conv4_block6_out")
    features = random.uniform(size=(2, 25, 25, 64)).astype(np.float32)
    expected = keras.Model(pool.output, conv4.output)(features)
    after_pool = keras.Model(
        backbone.stage1.get_layer("pool1").output, backbone.stage1.output, name="after_pool"
    )
    assert_equal(after_pool(features), expected)
    theirs = keras.Model(conv4.output, network.output)(expected)
    assert_equal(stage2(expected), theirs)


def copy_from_keras(layer: ConvBatchNorm, network: keras.Model) -> None:
    """Weights of a layer by its place; Keras' bias becomes part of the moving mean."""
    if layer.name == "conv1":
        name = "conv1"
    else:
        block, unit, _, convolution = layer.name.split(".")
        number = {"shortcut": 0, "conv1": 1, "conv2": 2, "conv3": 3}[convolution]
        name = f"conv{int(block[5:]) + 1}_block{unit[5:]}_{number}"
    convolution, norm = network.get_layer(f"{name}_conv"), network.get_layer(f"{name}_bn")
    layer.kernel.assign(convolution.kernel)
    layer.moving_mean.assign(norm.moving_mean - convolution.bias)
    for part in ("gamma", "beta", "moving_variance"):
        getattr(layer, part).assign(getattr(norm, part))


def assert_equal(actual, expected) -> None:
    largest = np.abs(expected).max()
    assert largest > 0.1
    np.testing.assert_allclose(actual, expected, atol=1e-4 * largest)


def test_names_are_those_of_tf_slim(resnet50):
    names = checkpoint_names(resnet50.stage1, "resnet_v1_50")
    # conv1; three convolutions in each of 3 + 4 + 6 units, a shortcut in each of three blocks.
    assert len(names) == 5 * (1 + 3 * 13 + 3)
    shortcut = names["resnet_v1_50/block2/unit_1/bottleneck_v1/shortcut/weights"]
    assert shortcut.shape == (1, 1, 256, 512)
    names = checkpoint_names(resnet50.make_stage2("stage2"), "resnet_v1_50")
    assert len(names) == 5 * (3 * 3 + 1)
    assert "resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/BatchNorm/moving_mean" in names


def test_symmetric_padding_does_not_depend_on_the_size():
    layer = ConvBatchNorm(1, 3, strides=2, padding="SYMMETRIC", kernel_initializer="ones")
    scale = np.sqrt(1.001)  # the untouched batch norm divides by it
    image = tf.reshape(tf.range(16.0), [1, 4, 4, 1])
    np.testing.assert_allclose(layer(image)[0, :, :, 0] * scale, [[10, 24], [51, 90]], rtol=1e-5)
    image = tf.reshape(tf.range(25.0), [1, 5, 5, 1])
    expected = [[12, 27, 24], [63, 108, 81], [72, 117, 84]]
    np.testing.assert_allclose(layer(image)[0, :, :, 0] * scale, expected, rtol=1e-5)


def test_refused_arguments():
    with pytest.raises(ValueError, match="num_layers is 18; must be one of"):
        resnet_v1.build(num_layers=18)
    with pytest.raises(ValueError, match="output_stride is 32"):
        resnet_v1.build(num_layers=50, output_stride=32)
    with pytest.raises(ValueError, match="output_stride is 8; .* Keras form supports 16"):
        resnet_v1.build(num_layers=50, output_stride=8, keras_form=True)
    with pytest.raises(ValueError, match="padding='FULL'"):
        ConvBatchNorm(1, 3, padding="FULL")
