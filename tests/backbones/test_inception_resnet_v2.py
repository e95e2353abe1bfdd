"""Inception-ResNet-v2: shapes, strides, what trains, names; model61 compares the numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import inception_resnet_v2
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm


@pytest.fixture(scope="module")
def backbone():
    return inception_resnet_v2.build(regularizer={"class_name": "L2", "config": {"l2": 0.5}})


@pytest.fixture(scope="module")
def stage2(backbone):
    return backbone.make_stage2("stage2")


@pytest.mark.slow
def test_shapes(backbone, stage2):
    assert backbone.stage1(tf.zeros([1, 65, 100, 3])).shape == (1, 5, 7, 1088)
    assert stage2(tf.zeros([3, 7, 7, 1088])).shape == (3, 3, 3, 1536)
    # Known without a run, too.
    assert stage2.compute_output_shape((None, 17, 17, 1088)) == (None, 8, 8, 1536)


def test_stride_8_dilates_instead_of_halving(backbone):
    stride8 = inception_resnet_v2.build(output_stride=8).stage1
    assert stride8.compute_output_shape((1, 64, 96, 3)) == (1, 8, 12, 1088)
    name = "Repeat_1.block17_20.Branch_1.Conv2d_0b_1x7"
    assert stride8.get_layer(name).dilation == 2
    assert backbone.stage1.get_layer(name).dilation == 1
    with pytest.raises(ValueError, match="output_stride is 4"):
        inception_resnet_v2.build(output_stride=4)


def test_kernels_biases_and_offsets_train(backbone, stage2):
    for model in (backbone.stage1, stage2):
        assert {v.name for v in model.trainable_variables} == {"kernel", "bias", "beta"}
        regularized = {v.name for v in model.variables if getattr(v, "regularizer", None)}
        assert regularized == {"kernel", "bias"}


def test_nothing_trains_when_the_network_is_frozen():
    assert not inception_resnet_v2.build(trainable=False).stage1.trainable_variables


def test_names_are_those_of_tf_slim(backbone, stage2):
    names = checkpoint_names(backbone.stage1, "InceptionResnetV2")
    # 156 convolutions with an offset and two averages, 30 projections with biases.
    assert len(names) == 4 * 156 + 2 * 30
    kernel = names["InceptionResnetV2/Repeat_1/block17_20/Branch_1/Conv2d_0b_1x7/weights"]
    assert kernel.shape == (1, 7, 128, 160)
    assert "InceptionResnetV2/Repeat/block35_10/Conv2d_1x1/biases" in names
    names = checkpoint_names(stage2, "InceptionResnetV2")
    assert len(names) == 4 * 48 + 2 * 10
    assert "InceptionResnetV2/Block8/Conv2d_1x1/biases" in names


def test_scaled_residual():
    layer = inception_resnet_v2.ScaledResidual(
        0.5, activation=tf.nn.relu, kernel_initializer="ones", regularizer=None, name="residual"
    )
    shortcut = tf.constant([1.0, -9.0], shape=[1, 1, 1, 2])
    branch = tf.constant([2.0, 3.0, 1.0], shape=[1, 1, 1, 3])
    layer([shortcut, branch])
    layer.bias.assign([4.0, 0.0])
    # 1 + 0.5 * (2 + 3 + 1 + 4); -9 + 0.5 * 6 is negative.
    np.testing.assert_allclose(layer([shortcut, branch]), [[[[6.0, 0.0]]]])


def test_valid_padding():
    layer = ConvBatchNorm(1, (1, 3), strides=2, padding="VALID", kernel_initializer="ones")
    image = tf.reshape(tf.range(12.0), [1, 2, 6, 1])
    outputs = layer(image) * np.sqrt(1.001)  # the untouched batch norm divides by it
    np.testing.assert_allclose(outputs[0, :, :, 0], [[3, 9]], rtol=1e-5)
    assert layer.compute_output_shape((1, 2, 6, 1)) == outputs.shape


def in_order(numbered: str) -> int:
    """Keras numbers equal layers in the order in which they were made."""
    return int(numbered.rsplit("_", 1)[1])


def branches(stage2: keras.Model) -> list[ConvBatchNorm]:
    """The convolutions of the branches, block by block, branch by branch."""
    blocks = ["Mixed_7a", *(f"Repeat.block8_{unit}" for unit in range(1, 10)), "Block8"]
    order = {block: index for index, block in enumerate(blocks)}
    found = [layer for layer in stage2.layers if ".Branch_" in layer.name]
    found = [layer for layer in found if isinstance(layer, ConvBatchNorm)]
    return sorted(found, key=lambda layer: (order[layer.name.split(".Branch")[0]], layer.name))


@pytest.mark.slow
def test_stage2_equals_keras_applications(stage2):
    """The part of the network that both build with the same padding."""
    network = keras.applications.InceptionResNetV2(
        weights=None, include_top=False, input_shape=(139, 139, 3)
    )
    theirs = keras.Model(
        network.get_layer("block17_20_ac").output, network.get_layer("conv_7b_ac").output
    )
    random = np.random.RandomState(0)
    for variable in theirs.variables:
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        noise = random.standard_normal(variable.shape) / np.sqrt(fan_in)
        variable.assign(1.0 + 0.1 * noise if "variance" in variable.path else noise)
    names = {layer.name for layer in theirs.layers}
    numbered = sorted((name for name in names if name.startswith("conv2d_")), key=in_order)
    pairs = list(zip(branches(stage2), numbered, strict=True))
    pairs.append((stage2.get_layer("Conv2d_7b_1x1"), "conv_7b"))
    for ours, name in pairs:
        ours.kernel.assign(theirs.get_layer(name).kernel)
        norm = name.replace("conv2d", "batch_normalization").replace("conv_7b", "conv_7b_bn")
        for part in ("beta", "moving_mean", "moving_variance"):
            getattr(ours, part).assign(getattr(theirs.get_layer(norm), part))
    for unit in range(1, 11):
        ours = stage2.get_layer(f"{'Block8' if unit == 10 else f'Repeat.block8_{unit}'}.Conv2d_1x1")
        ours.kernel.assign(theirs.get_layer(f"block8_{unit}_conv").kernel)
        ours.bias.assign(theirs.get_layer(f"block8_{unit}_conv").bias)
    crops = random.uniform(size=(2, 7, 7, 1088)).astype(np.float32)
    expected = theirs(crops)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(stage2(crops), expected, atol=1e-4 * np.abs(expected).max())
