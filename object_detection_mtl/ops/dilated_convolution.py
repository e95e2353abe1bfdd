"""Dilated convolution whose gradient also exists on CPUs without oneDNN.

TensorFlow's own CPU kernels compute a dilated convolution, but not its gradients. The kernels of
GPUs do, and oneDNN's, which TensorFlow uses by default on some x86 CPUs only, if the padding is
"SAME" or "VALID".
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf


def dilated_conv2d(
    inputs: tf.Tensor, kernel: tf.Tensor, padding: str | list[list[int]], dilation: int
) -> tf.Tensor:
    """Convolve with a dilated kernel and stride 1.

    The forward kernel is TensorFlow's. Where its gradients are missing, they are those of an equal
    computation: padding before the convolution, and convolution without dilation of every
    `dilation`-th cell (space to batch).

    Args:
        inputs: [B, H, W, C].
        kernel: [h, w, C, D].
        padding: "SAME", "VALID", or the cells before and after each of the four axes.
        dilation: in cells; 1 for an ordinary convolution.

    Returns:
        [B, H', W', D].
    """
    if dilation == 1 or (_has_gradients(inputs.dtype) and isinstance(padding, str)):
        return tf.nn.conv2d(inputs, kernel, 1, padding, dilations=dilation)

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
        def gradients(upstream: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch((inputs, kernel))
                outputs = _convolve_differentiably(inputs, kernel, padding, dilation)
            return tape.gradient(outputs, [inputs, kernel], upstream)

        return tf.nn.conv2d(inputs, kernel, 1, padding, dilations=dilation), gradients

    return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def _convolve_differentiably(
    inputs: tf.Tensor, kernel: tf.Tensor, padding: str | list[list[int]], dilation: int
) -> tf.Tensor:
    if not isinstance(padding, str):
        inputs, padding = tf.pad(inputs, padding), "VALID"
    if _has_gradients(inputs.dtype):
        return tf.nn.conv2d(inputs, kernel, 1, padding, dilations=dilation)
    # Every `dilation`-th cell is an image of its own.
    return tf.nn.with_space_to_batch(
        inputs,
        [dilation, dilation],
        padding,
        lambda cells, num_spatial_dims, padding: tf.nn.conv2d(cells, kernel, 1, padding),
        filter_shape=tf.shape(kernel),
    )


@functools.cache
def _has_gradients(dtype: tf.DType) -> bool:
    """Return whether the device that trains has gradients of dilated "SAME" convolutions.

    Args:
        dtype: of inputs and kernel. oneDNN has bfloat16 only on some of the CPUs with float32.
    """
    if tf.config.list_logical_devices("GPU"):
        return True
    # In a function that is being traced, too, the operations run now.
    with tf.init_scope(), tf.device("CPU:0"):
        image, kernel = tf.zeros([1, 3, 3, 1], dtype), tf.zeros([3, 3, 1, 1], dtype)
        try:
            tf.nn.conv2d_transpose(image, kernel, [1, 3, 3, 1], 1, "SAME", dilations=2)
        except tf.errors.InvalidArgumentError:
            return False
    return True
