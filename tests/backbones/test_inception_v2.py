"""Inception v2: shapes, strides, what trains, names; `test_slim_networks` compares the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import inception_v2
from object_detection_mtl.backbones.backbone import checkpoint_names


@pytest.fixture(scope="module")
def backbone():
    return inception_v2.build(regularizer={"class_name": "L2", "config": {"l2": 0.5}})


@pytest.fixture(scope="module")
def stage2(backbone):
    return backbone.make_stage2("stage2")


def test_shapes(backbone, stage2):
    assert backbone.scope == "InceptionV2"
    assert backbone.stage1(tf.zeros([1, 65, 100, 3])).shape == (1, 5, 7, 576)
    assert stage2(tf.zeros([3, 7, 7, 576])).shape == (3, 4, 4, 1024)
    assert stage2.compute_output_shape((None, 14, 14, 576)) == (None, 7, 7, 1024)


def test_kernels_factors_and_offsets_train(backbone, stage2):
    for stage in (backbone.stage1, stage2):
        trained = {variable.name for variable in stage.trainable_variables}
        assert trained - {"depthwise_kernel"} == {"kernel", "gamma", "beta"}
        regularized = {v.name for v in stage.variables if getattr(v, "regularizer", None)}
        assert regularized == {"kernel"}
    assert not inception_v2.build(trainable=False).stage1.trainable_variables


def test_names_are_those_of_tf_slim(backbone, stage2):
    names = checkpoint_names(backbone.stage1, "InceptionV2")
    assert len(names) == 5 * 50 + 1
    assert names["InceptionV2/Conv2d_1a_7x7/depthwise_weights"].shape == (7, 7, 3, 8)
    assert names["InceptionV2/Conv2d_1a_7x7/pointwise_weights"].shape == (1, 1, 24, 64)
    assert "InceptionV2/Mixed_4a/Branch_1/Conv2d_1a_3x3/BatchNorm/gamma" in names
    names = checkpoint_names(stage2, "InceptionV2")
    assert len(names) == 5 * 19
    assert "InceptionV2/Mixed_5c/Branch_3/Conv2d_0b_1x1/weights" in names


def test_first_weights_have_the_deviations_of_tf_slim(backbone):
    def deviation(layer):
        return float(np.std(backbone.stage1.get_layer(layer).kernel))

    # A truncated normal ends at two deviations, which leaves 0.88 of the deviation.
    assert deviation("Conv2d_1a_7x7") == pytest.approx(0.88, rel=0.1)
    assert deviation("Conv2d_2b_1x1") == pytest.approx(0.088, rel=0.1)
    assert deviation("Mixed_4e.Branch_2.Conv2d_0a_1x1") == pytest.approx(0.079, rel=0.1)
    glorot = np.sqrt(2 / (9 * (64 + 192)))
    assert deviation("Conv2d_2c_3x3") == pytest.approx(glorot, rel=0.1)


def test_a_thinner_network():
    backbone = inception_v2.build(depth_multiplier=0.25, min_depth=24)
    stem = backbone.stage1.get_layer("Conv2d_1a_7x7")
    assert stem.filters == 24
    assert stem.depth_multiplier == 8
    # Mixed_4e: 24, 48, 48 and 24 channels.
    assert backbone.stage1.output_shape[-1] == 144
    assert backbone.make_stage2("stage2").output_shape[-1] == 88 + 80 + 56 + 32


def test_dilated_pooling_is_the_pooling_of_every_second_cell():
    maps = tf.constant(np.random.RandomState(0).normal(size=(2, 7, 9, 3)), tf.float32)
    expected = tf.nn.avg_pool2d(maps[:, ::2, ::2], 3, 1, "SAME")
    dilated = inception_v2.DilatedAveragePooling(2, "pool")(maps)
    np.testing.assert_allclose(dilated[:, ::2, ::2], expected, atol=1e-6)


def test_refused_arguments():
    with pytest.raises(ValueError, match="output_stride is 4; Inception v2 supports 8 and 16"):
        inception_v2.build(output_stride=4)
    with pytest.raises(ValueError, match="depth_multiplier is 0, expected a number > 0"):
        inception_v2.build(depth_multiplier=0)
