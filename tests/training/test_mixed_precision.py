"""Training in bfloat16: what is cast, and gradients and weights beside those of float32.

bfloat16 has 8 bits of mantissa: rounding moves a number by at most 2^-9 of itself. The tiny
detector rounds images, kernels and maps of at most three convolutions one after the other, forwards
and backwards, so the differences of its losses and of the norm of the update stay below 2^-6.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm, SeparableConvBatchNorm
from object_detection_mtl.backbones.inception_resnet_v2 import ScaledResidual
from object_detection_mtl.builders import train_config_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.fields import Batch
from object_detection_mtl.ops import dilated_convolution
from object_detection_mtl.training import mixed_precision
from object_detection_mtl.training.training_step import TrainingStep
from tests.builders.test_train_config_builder import parse
from tests.models import test_auxiliary_stage as auxiliary
from tests.models import tiny as small
from tests.training import tiny
from tests.training.linear import one_device

TOLERANCE = 2.0**-6
IMAGES = (0, 1, 2, 3)


class Recorder(keras.optimizers.SGD):
    """SGD that keeps the gradients of the last call."""

    def apply(self, grads, trainable_variables=None):
        self.gradients = [gradient.dtype for gradient in grads]
        super().apply(grads, trainable_variables)


def trained(bfloat16, num_steps=1):
    """Return the tiny detector after steps of rate 1, its scalars, and the gradients' types."""
    with one_device() as strategy:
        model = train_config_builder.build_model(
            parse("batch_size: 4"), tiny.tiny_detector(), bfloat16=bfloat16
        )
        optimizer = Recorder(1.0)
        variables = list(model.trained.values())
        optimizer.build(variables)
        step = TrainingStep(model.detector, optimizer, variables, model.step_options)
        compiled = tf.function(
            lambda number: strategy.run(step, args=(tiny.batch(*IMAGES), number)), autograph=False
        )
        for number in range(num_steps):
            scalars = compiled(tf.constant(number, tf.int64))
    return model.detector, {k: float(v) for k, v in scalars.items()}, optimizer.gradients


def values_of(detector):
    return {name: variable.numpy() for name, variable in native.named_variables(detector).items()}


def norm(arrays):
    return np.sqrt(sum(np.sum(np.square(array)) for array in arrays))


@pytest.fixture(scope="module")
def both():
    return trained(False), trained(True)


@pytest.mark.slow
def test_a_step_is_close_to_that_of_float32(both):
    (detector, scalars, _), (cast, rounded, gradients) = both
    assert set(gradients) == {tf.float32}
    assert scalars["Loss/total_loss"] > 0.1
    assert scalars != rounded
    for name, value in scalars.items():
        assert rounded[name] == pytest.approx(value, rel=TOLERANCE, abs=1e-6), name
    before, exact = values_of(tiny.tiny_detector()), values_of(detector)
    updates = {name: exact[name] - value for name, value in before.items()}
    errors = {name: value - exact[name] for name, value in values_of(cast).items()}
    assert norm(errors.values()) < TOLERANCE * norm(updates.values())
    for name, error in errors.items():  # Sums over the map, such as those of beta, cancel.
        assert norm([error]) <= 4 * TOLERANCE * norm([updates[name]]), name


@pytest.mark.slow
def test_weights_trained_so_are_those_of_any_detector(both):
    """Names, shapes and values; a detector built for evaluation computes in float32."""
    _, (cast, _, _) = both
    detector = tiny.tiny_detector(is_training=False)
    variables = native.named_variables(detector)
    for name, variable in native.named_variables(cast).items():
        assert variable.dtype == variables[name].dtype == "float32"
        variables[name].assign(variable.numpy())
    images = tiny.batch(*IMAGES)[Batch.inputs]
    values = detector.feature_extractor(images)
    assert values.dtype == tf.float32
    assert cast.feature_extractor(images).dtype == tf.bfloat16
    error = tf.norm(tf.cast(cast.feature_extractor(images), tf.float32) - values)
    assert 0.0 < float(error / tf.norm(values)) < 2.0**-7


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param("faster_rcnn", marks=pytest.mark.slow),
        pytest.param("rfcn", marks=pytest.mark.long),
    ],
)
def test_what_is_cast(architecture):
    """Convolutions are; outputs of the heads and depthwise convolutions are not."""
    overrides = (*small.ARCHITECTURES[architecture], *auxiliary.ALL, *auxiliary.WEIGHTS)
    detector = small.detector(small.FEW_CHANNELS, *overrides, is_training=True)
    mixed_precision.use_bfloat16(detector)
    data = auxiliary.groundtruth(0, 1)
    inputs, shapes = detector.preprocess(small.images(2))
    forward = tf.function(lambda: detector.predict(inputs, shapes, data), autograph=False)
    function = forward.get_concrete_function()
    assert tf.bfloat16 not in {value.dtype for value in function.structured_outputs.values()}
    kinds = {}
    for operation in function.graph.get_operations():
        if operation.outputs:
            kinds.setdefault(operation.type, []).append(operation.outputs[0].dtype)
    assert kinds["Conv2D"].count(tf.bfloat16) > 10
    assert kinds["Conv2D"].count(tf.float32) == 3  # outputs of the first stage, foreground mask
    for kind in ("DepthwiseConv2dNative", "MatMul", "Mean", "CropAndResize"):
        assert tf.bfloat16 not in kinds.get(kind, ()), kind


@pytest.mark.parametrize("layer", [ConvBatchNorm(4, 3, batch_norm_trainable=True),
                                   SeparableConvBatchNorm(4, 3)])  # fmt: skip
def test_batch_norm_and_depthwise_kernels_are_float32(layer):
    random = np.random.RandomState(0)
    images = tf.constant(random.normal(size=[2, 8, 8, 3]), tf.float32)
    with tf.GradientTape() as tape:
        wanted = layer(images, training=True)
    statistics = layer.moving_mean.numpy()
    layer.moving_mean.assign(tf.zeros_like(layer.moving_mean))
    layer.dtype_policy = mixed_precision.POLICY
    with tf.GradientTape() as tape:
        outputs = layer(images, training=True)
        total = tf.reduce_sum(tf.square(tf.cast(outputs, tf.float32)))
    assert outputs.dtype == tf.bfloat16
    error = tf.norm(tf.cast(outputs, tf.float32) - wanted) / tf.norm(wanted)
    assert 0.0 < float(error) < TOLERANCE
    np.testing.assert_allclose(layer.moving_mean, statistics, atol=1e-5)
    for gradient in tape.gradient(total, [v.value for v in layer.trainable_variables]):
        assert gradient.dtype == tf.float32


def test_a_scaled_residual_is_close_to_float32():
    random = np.random.RandomState(0)
    values = [
        tf.constant(random.normal(size=[1, 4, 4, channels]), tf.float32) for channels in (6, 3)
    ]
    layer = ScaledResidual(
        0.17,
        activation=tf.nn.relu,
        kernel_initializer="glorot_uniform",
        regularizer=None,
        name="residual",
    )
    wanted = layer(values)
    layer.dtype_policy = mixed_precision.POLICY
    outputs = layer(values)
    assert outputs.dtype == tf.bfloat16
    assert float(tf.norm(tf.cast(outputs, tf.float32) - wanted) / tf.norm(wanted)) < TOLERANCE


def test_a_dilated_convolution_has_gradients_in_bfloat16():
    random = np.random.RandomState(0)
    values = [random.normal(size=size) for size in ([1, 6, 6, 2], [3, 3, 2, 2])]
    found = []
    for dtype in (tf.float32, tf.bfloat16):
        inputs, kernel = (tf.constant(value, dtype) for value in values)
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = dilated_convolution.dilated_conv2d(inputs, kernel, "SAME", 2)
        found.append([tf.cast(g, tf.float32) for g in tape.gradient(outputs, [inputs, kernel])])
    for wanted, gradient in zip(*found, strict=True):
        assert float(tf.norm(gradient - wanted) / tf.norm(wanted)) < TOLERANCE


@pytest.mark.parametrize(
    ("field", "features", "chosen", "line"),
    [
        ("", False, False, ""),
        ("use_bfloat16: true", False, False, "no bfloat16 instructions (AVX512-BF16 or AMX)"),
        ("use_bfloat16: true", True, True, "training in mixed precision"),
    ],
)
def test_the_device_decides_and_says_so(field, features, chosen, line, monkeypatch, capsys):
    monkeypatch.setattr(mixed_precision.cpu_features, "has_bfloat16_products", lambda: features)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    strategy = tf.distribute.get_strategy()
    assert train_config_builder.choose_bfloat16(parse(field), strategy) is chosen
    printed = capsys.readouterr().out
    assert line in printed
    assert printed.count("\n") == bool(line)
