"""What every backbone offers to a detector, and the layer they are all made of.

Shape letters: B batch, H W height and width of a map, C channels.

Layers are named after their TF-Slim scope, with "." for "/" (`block1.unit_1.bottleneck_v1.conv1`),
and tell which TF-Slim variable each of their own is (`tf_slim_variables`). The name maps of
`checkpoints/` are made of that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Backbone:
    """A classification network cut in two for detection.

    Attributes:
        slim_scope: scope of its variables in TF-Slim checkpoints, such as `MobilenetV1`.
        stage1: [B, H, W, 3] normalised -> [B, H/stride, W/stride, C] features shared by all heads.
        make_stage2: name -> a new second-stage block, [N, h, w, C] -> [N, h', w', C'].
            Every head that owns a copy calls it once.
        normalize: float32 pictures in 0..255 -> what the network was trained on.
        smallest_stage2_side: the least h and w that the second-stage block can take.
    """

    slim_scope: str
    stage1: keras.Model
    make_stage2: Callable[[str], keras.Model]
    normalize: Callable[[tf.Tensor], tf.Tensor]
    smallest_stage2_side: int = 1


class HasTfSlimVariables(Protocol):
    """A layer that can say which variables of a TF-Slim graph its own are."""

    name: str

    def tf_slim_variables(self) -> dict[str, keras.Variable]: ...


def tf_slim_name_map(model: keras.Model, prefix: str) -> dict[str, keras.Variable]:
    """TF-Slim variable name -> variable, for every layer of `model` that has some.

    Args:
        model: a model whose layers are named after their TF-Slim scope.
        prefix: what stands before the scope, such as `FirstStageFeatureExtractor/MobilenetV1`.
    """
    names: dict[str, keras.Variable] = {}
    for layer in model.layers:
        for suffix, variable in getattr(layer, "tf_slim_variables", dict)().items():
            names[f"{prefix}/{layer.name.replace('.', '/')}/{suffix}"] = variable
    return names


class ConvBatchNorm(keras.layers.Layer):
    """Convolution (full or depthwise), batch norm and activation as one layer.

    With `batch_norm_trainable=False`, the rule in detection where batches are small, the moving
    averages are constants: normalising is then the same as a convolution with the kernel times
    gamma / sqrt(variance + epsilon) and a bias. The layer computes it that way in training too: the
    scaling touches the small kernel instead of the large map, gradients of kernel, gamma and beta
    are the same, and TensorFlow fuses convolution, bias and activation into one operation.
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
        """Args:
        filters: output channels; None for a depthwise convolution, which keeps its input's.
        kernel_size: of both axes or (height, width), in pixels.
        strides, dilation: of both axes, in pixels.
        padding: SAME; VALID, none; or SYMMETRIC, half the kernel on every side. SAME and
            SYMMETRIC differ under strides, where SAME pads less above and left, depending on the
            input's size.
        epsilon, momentum: of the batch norm.
        scale: whether the batch norm has a gamma (Inception-ResNet-v2 has none).
        batch_norm_trainable: normalise by the batch and update the averages in training.
        scale_and_offset_trainable: whether gamma and beta are trained.
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
        channels = input_shape[-1]
        if channels is None:
            raise ValueError(f"{self.name}: the channels of input {input_shape} must be known")
        outputs = channels if self.depthwise else self.filters
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, 1 if self.depthwise else outputs),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        trainable = self.scale_and_offset_trainable
        self.gamma = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma", shape=(outputs,), initializer="ones", trainable=trainable
            )
        self.beta = self.add_weight(
            name="beta", shape=(outputs,), initializer="zeros", trainable=trainable
        )
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=(outputs,), initializer="zeros", trainable=False
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=(outputs,), initializer="ones", trainable=False
        )
        self.built = True

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if self.batch_norm_trainable and training:
            outputs = self._normalize_by_batch(self._convolve(inputs, self.kernel))
        else:
            factor = tf.math.rsqrt(self.moving_variance + self.epsilon)
            if self.gamma is not None:
                factor = factor * self.gamma
            kernel = self.kernel * (factor[:, tf.newaxis] if self.depthwise else factor)
            offset = self.beta - self.moving_mean * factor
            outputs = tf.nn.bias_add(self._convolve(inputs, kernel), offset)
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
        return tf.nn.conv2d(inputs, kernel, strides, padding, dilations=self.dilation)

    def _symmetric_padding(self, size: int) -> list[int]:
        """Pixels before and after the axis along which the kernel has `size`; an odd one after."""
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
        sides = [
            side and self._output_side(side, size)
            for side, size in zip(input_shape[1:3], self.kernel_size, strict=True)
        ]
        return (input_shape[0], *sides, input_shape[-1] if self.depthwise else self.filters)

    def _output_side(self, side: int, size: int) -> int:
        """Cells along an axis of `side` cells, along which the kernel has `size`."""
        if self.padding == "VALID":
            side -= (size - 1) * self.dilation
        return -(-side // self.strides)

    def tf_slim_variables(self) -> dict[str, keras.Variable]:
        names = {
            "depthwise_weights" if self.depthwise else "weights": self.kernel,
            "BatchNorm/gamma": self.gamma,
            "BatchNorm/beta": self.beta,
            "BatchNorm/moving_mean": self.moving_mean,
            "BatchNorm/moving_variance": self.moving_variance,
        }
        return {suffix: variable for suffix, variable in names.items() if variable is not None}


def freeze_layers(model: keras.Model, is_frozen: Callable[[str], bool]) -> None:
    """Makes every layer whose name satisfies `is_frozen` untrainable."""
    for layer in model.layers:
        if is_frozen(layer.name):
            layer.trainable = False
