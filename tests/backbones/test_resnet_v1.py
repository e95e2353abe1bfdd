"""ResNet v1: shapes, strides, what trains, names; `test_slim_resnet_v1` compares the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import resnet_v1
from object_detection_mtl.backbones.common import ConvBatchNorm, tf_slim_name_map


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
    assert [tuple(block) for block in resnet_v1.stage1_blocks(101, 16)] == [
        ("block1", 3, 64, 2, 1),
        ("block2", 4, 128, 2, 1),
        ("block3", 23, 256, 1, 1),
    ]
    assert [tuple(block) for block in resnet_v1.stage1_blocks(152, 8)] == [
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


def test_names_are_those_of_tf_slim(resnet50):
    names = tf_slim_name_map(resnet50.stage1, "resnet_v1_50")
    # conv1; three convolutions in each of 3 + 4 + 6 units, a shortcut in each of three blocks.
    assert len(names) == 5 * (1 + 3 * 13 + 3)
    shortcut = names["resnet_v1_50/block2/unit_1/bottleneck_v1/shortcut/weights"]
    assert shortcut.shape == (1, 1, 256, 512)
    names = tf_slim_name_map(resnet50.make_stage2("stage2"), "resnet_v1_50")
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
    with pytest.raises(ValueError, match="padding='FULL'"):
        ConvBatchNorm(1, 3, padding="FULL")
