"""Estimated cost of a training step: of one convolution by hand, and of what saves memory."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder, train_config_builder
from object_detection_mtl.config import pipeline, samples
from object_detection_mtl.training import step_cost

CONFIG = samples.path("faster_rcnn_mobilenet_v1_mtl_small.config")


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_two_convolutions_by_hand(dtype):
    """Images of 6x6x3, kernels 3x3x3x4 and 1x1x4x5 of which the second is frozen."""
    first = keras.Variable(np.ones([3, 3, 3, 4], np.float32))
    second = keras.Variable(np.ones([1, 1, 4, 5], np.float32), trainable=False)

    class Detector:
        image_resizer = SimpleNamespace(keywords={"height": 6, "width": 6})
        variables = (first, second)

        def predict(self, inputs, shapes, groundtruth, *, training):
            inputs, *kernels = (tf.cast(x, dtype) for x in (inputs, first.value, second.value))
            features = tf.nn.relu(tf.nn.conv2d(inputs, kernels[0], 1, "SAME"))
            return {"scores": tf.nn.conv2d(features, kernels[1], 1, "SAME"), "count": shapes}

    options = SimpleNamespace(num_micro_batches=1)
    model = SimpleNamespace(trained={"first": first}, step_options=options)
    cost = step_cost.estimate_step(Detector(), 2, model)
    places = 2 * 6 * 6
    # Forward and the gradient of the kernel; forward and the gradient of the features.
    assert cost.flops == 2 * (2 * places * 9 * 3 * 4) + 2 * (2 * places * 4 * 5)
    # The features; the images are there anyway, but not their bfloat16 form, nor the kernel's.
    kept = places * 4 if dtype is tf.float32 else places * (4 + 3) + 4 * 5
    assert cost.activation_bytes == dtype.size * kept
    assert cost.weight_bytes == 4 * (3 * (9 * 3 * 4) + 4 * 5)
    assert cost.input_shape == (2, 6, 6, 3)


def estimate(*overrides):
    config = pipeline.load(CONFIG, ["model.mtl.refine=true", *overrides])
    detector = model_builder.build(config.model, is_training=True)
    model = train_config_builder.build_model(config.train_config, detector)
    return step_cost.estimate_step(detector, 2, model)


@pytest.mark.slow
def test_what_saves_memory_counts():
    usual = estimate()
    recomputed = estimate("model.mtl.recompute_stage2=true")
    assert recomputed.activation_bytes < 0.8 * usual.activation_bytes
    assert recomputed.flops > 1.05 * usual.flops
    halves = estimate("train_config.num_micro_batches=2")
    assert 0.5 < halves.activation_bytes / usual.activation_bytes < 0.65
    assert halves.flops == pytest.approx(usual.flops, rel=0.02)
    frozen = estimate('train_config.freeze_variables=["FirstStageFeatureExtractor"]')
    assert frozen.activation_bytes < 0.8 * usual.activation_bytes
    assert frozen.flops < 0.95 * usual.flops
