"""Convolutions with batch normalization and activation in one layer.

Shape letters: B batch, H W height and width of a map, C channels.

Layers are named after their TF-Slim scope, with "." for "/" (`block1.unit_1.bottleneck_v1.conv1`),
and `tf_slim_variables` gives the TF-Slim names of their variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.ops import dilated_convolution


class ConvBatchNorm(keras.layers.Layer):
    """Convolution (full or depthwise), batch norm and activation as one layer.

    With `batch_norm_trainable=False`, the rule in detection where batches are small, the moving
    averages are constants: normalizing is then the same as a convolution with the kernel times
    gamma / sqrt(variance + epsilon) and a bias. The layer computes it that way in training too: the
    scaling touches the small kernel instead of the large map, gradients of kernel, gamma and beta
    are the same, and TensorFlow fuses convolution, bias and activation into one operation.

    With the dtype policy `mixed_bfloat16` only the convolution, the addition of the offset and the
    activation are in bfloat16: the kernel is scaled in float32, and batch norm computes in float32.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int | tuple[int, int],
        *,
        strides: int = 1,
        dilation: int = 1,
        padding: str = "SAME",
        depthwise: bool = False,
        epsilon: float = 1e-3,
        momentum: float = 0.9997,
        scale: bool = True,
        activation: Callable[[Any], Any] | None = None,
        batch_norm_trainable: bool = False,
        scale_and_offset_trainable: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        name: str | None = None,
    ) -> None:
        """Make the layer.

        Args:
            filters: output channels; None for a depthwise convolution, which keeps its input's.
            kernel_size: kernel size of both axes or (height, width), in pixels.
            strides: strides of both axes, in pixels.
            dilation: dilation of both axes, in pixels.
            padding: SAME; VALID, none; or SYMMETRIC, half the kernel on every side. SAME and
                SYMMETRIC differ under strides, where SAME pads less above and left, depending on
                the input's size.
            depthwise: convolve each channel alone.
            epsilon: epsilon of the batch norm.
            momentum: momentum of the moving averages.
            scale: whether the batch norm has a gamma (Inception-ResNet-v2 has none).
            batch_norm_trainable: normalize by the batch and update the averages in training.
            scale_and_offset_trainable: whether gamma and beta are trained.
            activation: function of the outputs; None is none.
            kernel_initializer: a name or description of Keras.
            kernel_regularizer: a description of Keras; None is none.
            name: name of the layer.
        """
        super().__init__(name=name)
        if depthwise != (filters is None):
            raise ValueError(f"filters={filters} with depthwise={depthwise}: give one of the two")
        allowed = ("SAME", "VALID") if depthwise else ("SAME", "VALID", "SYMMETRIC")
        if padding not in allowed:
            raise ValueError(
                f"padding={padding!r} with depthwise={depthwise}: must be one of {allowed}"
            )
        self.padding = padding
        self.filters = filters
        height, width = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
        self.kernel_size = (height, width)
        self.strides = strides
        self.dilation = dilation
        self.depthwise = depthwise
        self.epsilon = epsilon
        self.momentum = momentum
        self.scale = scale
        self.activation = activation
        self.batch_norm_trainable = batch_norm_trainable
        self.scale_and_offset_trainable = scale_and_offset_trainable
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"{self.name}: the channels of input {input_shape} must be known")
        outputs = channels if self.depthwise else self.filters
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, 1 if self.depthwise else outputs),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            autocast=False,
        )
        trainable = self.scale_and_offset_trainable

        def add_vector(name: str, initializer: str, trainable: bool) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=(outputs,),
                initializer=initializer,
                trainable=trainable,
                autocast=False,
            )

        self.gamma = add_vector("gamma", "ones", trainable) if self.scale else None
        self.beta = add_vector("beta", "zeros", trainable)
        self.moving_mean = add_vector("moving_mean", "zeros", False)
        self.moving_variance = add_vector("moving_variance", "ones", False)
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return the layer's output."""
        if self.batch_norm_trainable and training:
            kernel = tf.cast(self.kernel, inputs.dtype)
            outputs = self._normalize_by_batch(self._convolve(inputs, kernel))
        else:
            factor = tf.math.rsqrt(self.moving_variance + self.epsilon)
            if self.gamma is not None:
                factor = factor * self.gamma
            kernel = self.kernel * (factor[:, tf.newaxis] if self.depthwise else factor)
            offset = self.beta - self.moving_mean * factor
            outputs = self._convolve(inputs, tf.cast(kernel, inputs.dtype))
            outputs = tf.nn.bias_add(outputs, tf.cast(offset, inputs.dtype))
        return outputs if self.activation is None else self.activation(outputs)

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        strides = [1, self.strides, self.strides, 1]
        if self.depthwise:
            dilations = [self.dilation, self.dilation]
            return tf.nn.depthwise_conv2d(
                inputs, kernel, strides, self.padding, dilations=dilations
            )
        padding: Any = self.padding
        if padding == "SYMMETRIC":
            padding = [[0, 0], *map(self._symmetric_padding, self.kernel_size), [0, 0]]
        if self.dilation > 1 and self.strides == 1:
            return dilated_convolution.dilated_conv2d(inputs, kernel, padding, self.dilation)
        return tf.nn.conv2d(inputs, kernel, strides, padding, dilations=self.dilation)

    def _symmetric_padding(self, size: int) -> list[int]:
        """Return the padding before and after an axis where the kernel has `size`."""
        total = (size - 1) * self.dilation
        return [total // 2, total - total // 2]

    def _normalize_by_batch(self, outputs: tf.Tensor) -> tf.Tensor:
        gamma = tf.ones_like(self.beta) if self.gamma is None else tf.convert_to_tensor(self.gamma)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            outputs, gamma, tf.convert_to_tensor(self.beta), epsilon=self.epsilon, is_training=True
        )
        keep = self.momentum
        self.moving_mean.assign(keep * self.moving_mean + (1.0 - keep) * mean)
        self.moving_variance.assign(keep * self.moving_variance + (1.0 - keep) * variance)
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        sides = [
            side and self._output_side(side, size)
            for side, size in zip(input_shape[1:3], self.kernel_size, strict=True)
        ]
        return (input_shape[0], *sides, input_shape[-1] if self.depthwise else self.filters)

    def _output_side(self, side: int, size: int) -> int:
        """Return the output's cells along an axis of `side` cells where the kernel has `size`."""
        if self.padding == "VALID":
            side -= (size - 1) * self.dilation
        return -(-side // self.strides)

    def tf_slim_variables(self) -> dict[str, keras.Variable]:
        """Return TF-Slim name below the layer's scope -> variable."""
        names = {
            "depthwise_weights" if self.depthwise else "weights": self.kernel,
            "BatchNorm/gamma": self.gamma,
            "BatchNorm/beta": self.beta,
            "BatchNorm/moving_mean": self.moving_mean,
            "BatchNorm/moving_variance": self.moving_variance,
        }
        return {suffix: variable for suffix, variable in names.items() if variable is not None}


class SeparableConvBatchNorm(ConvBatchNorm):
    """Depthwise, then 1x1 convolution, batch norm, activation; the batch norm is folded."""

    def __init__(
        self,
        filters: int,
        depthwise_size: int,
        *,
        strides: int = 1,
        depth_multiplier: int = 1,
        **options: Any,
    ) -> None:
        """Make the layer.

        Args:
            filters: output channels of the 1x1 convolution.
            depthwise_size: kernel size of the depthwise kernel, in pixels.
            strides: strides of the depthwise convolution.
            depth_multiplier: maps that the depthwise convolution makes of each channel.
            **options: of `ConvBatchNorm`; the regularizer is that of the 1x1 convolution.
        """
        super().__init__(filters, 1, **options)
        self.depthwise_size = depthwise_size
        self.depthwise_strides = strides
        self.depth_multiplier = depth_multiplier

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the variables."""
        *rest, channels = input_shape
        if channels is None:
            raise ValueError(f"{self.name}: the channels of input {input_shape} must be known")
        size = self.depthwise_size
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel",
            shape=(size, size, channels, self.depth_multiplier),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        super().build((*rest, channels * self.depth_multiplier))

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Return the layer's output [B, H/stride, W/stride, filters].

        The depthwise convolution is in float32 with any dtype policy.
        """
        stride = self.depthwise_strides
        depthwise = tf.nn.depthwise_conv2d(
            tf.cast(inputs, tf.float32), self.depthwise_kernel, [1, stride, stride, 1], "SAME"
        )
        return super().call(tf.cast(depthwise, inputs.dtype), training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the output."""
        stride = self.depthwise_strides
        sides = [None if side is None else -(-side // stride) for side in input_shape[1:3]]
        return (input_shape[0], *sides, self.filters)

    def tf_slim_variables(self) -> dict[str, keras.Variable]:
        """Return TF-Slim name below the layer's scope -> variable."""
        names = super().tf_slim_variables()
        pointwise = names.pop("weights")
        return {
            "depthwise_weights": self.depthwise_kernel,
            "pointwise_weights": pointwise,
            **names,
        }
