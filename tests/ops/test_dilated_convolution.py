"""Dilated convolution and its gradients, with TensorFlow's kernels and with oneDNN's."""

import pytest

from tests import processes

# An ordinary convolution with zeros between the cells of the kernel is the reference.
COMPARE = """
import numpy as np
import tensorflow as tf
from object_detection_mtl.ops.dilated_convolution import dilated_conv2d

def reference(inputs, kernel, padding, dilation):
    height, width, channels, depth = kernel.shape
    rows, columns = [
        tf.one_hot(tf.range(size) * dilation, (size - 1) * dilation + 1)
        for size in (height, width)
    ]
    spread = tf.einsum("hwcd,hy,wx->yxcd", kernel, rows, columns)
    return tf.nn.conv2d(inputs, spread, 1, padding)

def gradients(convolve, inputs, kernel, *arguments):
    with tf.GradientTape() as tape:
        tape.watch((inputs, kernel))
        outputs = convolve(inputs, kernel, *arguments)
        loss = tf.reduce_sum(outputs * tf.cos(outputs))
    return [outputs, *tape.gradient(loss, [inputs, kernel])]

random = np.random.default_rng(1)
explicit = [[0, 0], [2, 2], [3, 1], [0, 0]]
for padding, dilation, size in (
    ("SAME", 2, (3, 3)), ("SAME", 4, (1, 3)), ("VALID", 2, (3, 3)), (explicit, 2, (3, 3))
):
    inputs = tf.constant(random.normal(size=(2, 11, 14, 3)), tf.float32)
    kernel = tf.constant(random.normal(size=(*size, 3, 5)), tf.float32)
    expected = gradients(reference, inputs, kernel, padding, dilation)
    for run in (gradients, tf.function(gradients)):
        for ours, theirs in zip(
            run(dilated_conv2d, inputs, kernel, padding, dilation), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("onednn", ["0", "1"])
def test_gradients_are_those_of_a_kernel_with_zeros_between(onednn):
    assert processes.words(COMPARE, without=[], TF_ENABLE_ONEDNN_OPTS=onednn) == ["equal"]
