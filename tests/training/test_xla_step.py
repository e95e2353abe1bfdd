"""A step compiled by XLA against the plain one: same losses, same gradients.

Losses agree to 1e-5. Gradients are compared by variable, the difference relative to the norm:
weights after a step say little, since they also depend on the learning rate and on how large the
gradient is (ResNet-101's norm here is 640).

A correct gradient may be off by some 1e-4. Activations differ by rounding, 1e-6, and of those near
zero a few end on the other side of their ReLU: in each unit of ResNet-101's block4 one of 1.6
million. It has, of about n active ones, 1 / sqrt(n) of the gradient's norm. So gradients agree to
1e-6 in the layers after the last ReLU, and jump there to 1e-4. TensorFlow's own kernels with and
without oneDNN differ by as much (median of the variables: 1.0e-4, XLA's 0.6e-4).
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.fields import Batch
from object_detection_mtl.training.training_step import StepOptions, TrainingStep
from tests.golden import model_runner
from tests.models import test_auxiliary_stage as auxiliary
from tests.models import tiny as small
from tests.training import tiny
from tests.training.linear import one_device

MINER = "model.faster_rcnn.hard_example_miner.num_hard_examples=4"
TASKS = (*auxiliary.ALL, *auxiliary.WEIGHTS)


class Recorder:
    """In place of an optimizer: the variables become their gradients."""

    def apply(self, gradients, variables):
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign(gradient)


def one_step(build, data, jit_compile):
    """Scalars, and gradients by the variables' names."""
    with one_device() as strategy:
        detector = build()
        variables = detector.trainable_variables
        options = StepOptions(jit_compile=jit_compile)
        step_fn = TrainingStep(detector, Recorder(), variables, options)
        compiled = tf.function(functools.partial(strategy.run, step_fn), autograph=False)
        scalars = compiled(args=(data(detector), tf.constant(0, tf.int64)))
        trained = {id(variable) for variable in variables}
        named = native.named_variables(detector).items()
        gradients = {n: v.numpy().astype(np.float64) for n, v in named if id(v) in trained}
        return {name: float(value) for name, value in scalars.items()}, gradients


def voc(config):
    return lambda: model_runner.build(config, is_training=True)


def golden_batch(name, detector):
    golden = np.load(model_runner.GOLDEN / f"{name}_train.npz")
    inputs, shapes = detector.preprocess(golden["image_uint8"][np.newaxis])
    truth = model_runner.groundtruth(golden)
    return {**truth, Batch.inputs: inputs, Batch.true_image_shapes: shapes}


def toy(*overrides):
    return lambda: small.detector(*overrides, is_training=True)


def toy_batch(detector):
    """With an image without objects, and all auxiliary labels."""
    inputs, shapes = detector.preprocess(small.images(2))
    truth = auxiliary.groundtruth(0, 2)
    return {**truth, Batch.inputs: inputs, Batch.true_image_shapes: shapes}


@pytest.mark.parametrize(
    ("build", "data", "tolerance"),
    [
        pytest.param(
            tiny.tiny_detector, lambda detector: tiny.batch(0, 1), 1e-5, marks=pytest.mark.slow
        ),
        pytest.param(
            voc("faster_rcnn_mobilenet_v1_voc07.config"),
            functools.partial(golden_batch, "model51"),
            1e-3,
            marks=pytest.mark.long,
        ),
        pytest.param(
            voc("faster_rcnn_resnet101_voc07.config"),
            functools.partial(golden_batch, "model11"),
            1e-3,
            marks=pytest.mark.long,
        ),
        pytest.param(toy(*TASKS), toy_batch, 1e-3, marks=pytest.mark.slow),
        pytest.param(toy(*small.RFCN, *TASKS, MINER), toy_batch, 1e-3, marks=pytest.mark.long),
    ],
    ids=["tiny", "mobilenet", "resnet101", "faster_rcnn_tasks", "rfcn_tasks"],
)
def test_xla_gives_the_same_step(build, data, tolerance):
    plain, plain_gradients = one_step(build, data, jit_compile=False)
    by_xla, xla_gradients = one_step(build, data, jit_compile=True)
    assert plain.keys() == by_xla.keys()
    for name, value in plain.items():
        np.testing.assert_allclose(by_xla[name], value, rtol=1e-5, err_msg=name)
    for name, expected in plain_gradients.items():
        distance = np.linalg.norm(xla_gradients[name] - expected)
        assert distance <= tolerance * np.linalg.norm(expected), name
