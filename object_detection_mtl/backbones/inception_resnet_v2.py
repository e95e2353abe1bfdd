"""Inception-ResNet-v2 (Szegedy et al. 2016, arXiv:1602.07261) for detection.

Shape letters: B batch, H W image, N crops, h w a crop, C channels.

Stage 1 is everything up to the twenty `block17`, all of it padded so that the cells of the map lie
on a regular grid over the image (the OD API's "aligned feature maps"). Stage 2, on crops, is
`Mixed_7a`, which halves without padding, ten `block8` and `Conv2d_7b_1x1`. The batch norm has no
gamma; the projections at the end of the residual branches have biases and no batch norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone, check_stride
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm

BLOCK35_UNITS, BLOCK17_UNITS, BLOCK8_UNITS = 10, 20, 9
# Scales of the residual branches; that of the last block8 is 1.
BLOCK35_SCALE, BLOCK17_SCALE, BLOCK8_SCALE = 0.17, 0.10, 0.20
STAGE2_DEPTH = 1536
EPSILON = 1e-3
MOMENTUM = 0.9997

Size = int | tuple[int, int]
# A convolution of a branch: name, output channels, kernel [height, width].
Convolution = tuple[str, int, Size]
BLOCK35: tuple[tuple[Convolution, ...], ...] = (
    (("Conv2d_1x1", 32, 1),),
    (("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 32, 3)),
    (("Conv2d_0a_1x1", 32, 1), ("Conv2d_0b_3x3", 48, 3), ("Conv2d_0c_3x3", 64, 3)),
)
BLOCK17: tuple[tuple[Convolution, ...], ...] = (
    (("Conv2d_1x1", 192, 1),),
    (("Conv2d_0a_1x1", 128, 1), ("Conv2d_0b_1x7", 160, (1, 7)), ("Conv2d_0c_7x1", 192, (7, 1))),
)
BLOCK8: tuple[tuple[Convolution, ...], ...] = (
    (("Conv2d_1x1", 192, 1),),
    (("Conv2d_0a_1x1", 192, 1), ("Conv2d_0b_1x3", 224, (1, 3)), ("Conv2d_0c_3x1", 256, (3, 1))),
)


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Scale 0..255 to -1..1."""
    return images * (2.0 / 255.0) - 1.0


class ScaledResidual(keras.layers.Layer):
    """shortcut + scale * (1x1 convolution of a branch + biases), then an activation.

    The scale is folded into kernel and biases, which are small, instead of the map.
    """

    def __init__(
        self,
        scale: float,
        *,
        activation: Any,
        kernel_initializer: Any,
        regularizer: Any,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.scale = scale
        self.activation = activation
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.regularizer = keras.regularizers.get(regularizer)

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        """Make the variables."""
        (*_, outputs), (*_, inputs) = input_shape
        self.kernel = self.add_weight(
            name="kernel",
            shape=(1, 1, inputs, outputs),
            initializer=self.kernel_initializer,
            regularizer=self.regularizer,
            autocast=False,
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(outputs,),
            initializer="zeros",
            regularizer=self.regularizer,
            autocast=False,
        )
        self.built = True

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Return [N, h, w, D] from the shortcut [N, h, w, D] and the branch [N, h, w, C]."""
        shortcut, branch = inputs
        kernel = tf.cast(self.kernel * self.scale, branch.dtype)
        bias = tf.cast(self.bias * self.scale, branch.dtype)
        residual = tf.nn.conv2d(branch, kernel, 1, "SAME")
        outputs = shortcut + tf.nn.bias_add(residual, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        """Return the shape of the shortcut."""
        return tuple(input_shape[0])

    def tf_slim_variables(self) -> dict[str, keras.Variable]:
        """Return TF-Slim name below the layer's scope -> variable."""
        return {"weights": self.kernel, "biases": self.bias}


class _Network:
    """Builder of layers with common options."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dict(options)

    def conv(self, features: Any, name: str, filters: int, size: Size, **options: Any) -> Any:
        return ConvBatchNorm(filters, size, name=name, **{**self.options, **options})(features)

    def branch(
        self, features: Any, name: str, convolutions: Sequence[Convolution], **options: Any
    ) -> Any:
        """Apply convolutions in a row; `options` are those of the last."""
        *first, (last, filters, size) = convolutions
        for convolution, depth, kernel in first:
            features = self.conv(features, f"{name}.{convolution}", depth, kernel)
        return self.conv(features, f"{name}.{last}", filters, size, **options)

    def residual(
        self,
        features: Any,
        name: str,
        branches: Sequence[Sequence[Convolution]],
        scale: float,
        *,
        dilation: int = 1,
        is_linear: bool = False,
    ) -> Any:
        """Apply branches side by side; project, scale and add them to the input."""
        network = _Network({**self.options, "dilation": dilation})
        outputs = [
            network.branch(features, f"{name}.Branch_{index}", convolutions)
            for index, convolutions in enumerate(branches)
        ]
        mixed = keras.layers.Concatenate(name=f"{name}.mixed")(outputs)
        layer = ScaledResidual(
            scale,
            activation=None if is_linear else self.options["activation"],
            kernel_initializer=self.options["kernel_initializer"],
            regularizer=self.options["kernel_regularizer"],
            name=f"{name}.Conv2d_1x1",
        )
        return layer([features, mixed])

    def stem(self, features: Any) -> Any:
        """Return [B, H/8, W/8, 192] from images [B, H, W, 3]."""
        features = self.conv(features, "Conv2d_1a_3x3", 32, 3, strides=2)
        features = self.conv(features, "Conv2d_2a_3x3", 32, 3)
        features = self.conv(features, "Conv2d_2b_3x3", 64, 3)
        features = keras.layers.MaxPooling2D(3, 2, "same", name="MaxPool_3a_3x3")(features)
        features = self.conv(features, "Conv2d_3b_1x1", 80, 1)
        features = self.conv(features, "Conv2d_4a_3x3", 192, 3)
        return keras.layers.MaxPooling2D(3, 2, "same", name="MaxPool_5a_3x3")(features)

    def mixed_5b(self, features: Any) -> Any:
        """Return 320 channels."""
        name = "Mixed_5b"
        pooled = keras.layers.AveragePooling2D(3, 1, "same", name=f"{name}.Branch_3.pool")
        branches = [
            self.conv(features, f"{name}.Branch_0.Conv2d_1x1", 96, 1),
            self.branch(
                features,
                f"{name}.Branch_1",
                [("Conv2d_0a_1x1", 48, 1), ("Conv2d_0b_5x5", 64, 5)],
            ),
            self.branch(
                features,
                f"{name}.Branch_2",
                [("Conv2d_0a_1x1", 64, 1), ("Conv2d_0b_3x3", 96, 3), ("Conv2d_0c_3x3", 96, 3)],
            ),
            self.conv(pooled(features), f"{name}.Branch_3.Conv2d_0b_1x1", 64, 1),
        ]
        return keras.layers.Concatenate(name=name)(branches)

    def mixed_6a(self, features: Any, stride: int) -> Any:
        """Return 1088 channels of the map divided by `stride`."""
        name = "Mixed_6a"
        pool = keras.layers.MaxPooling2D(3, stride, "same", name=f"{name}.Branch_2.pool")
        branches = [
            self.conv(features, f"{name}.Branch_0.Conv2d_1a_3x3", 384, 3, strides=stride),
            self.branch(
                features,
                f"{name}.Branch_1",
                [("Conv2d_0a_1x1", 256, 1), ("Conv2d_0b_3x3", 256, 3), ("Conv2d_1a_3x3", 384, 3)],
                strides=stride,
            ),
            pool(features),
        ]
        return keras.layers.Concatenate(name=name)(branches)

    def mixed_7a(self, features: Any) -> Any:
        """Return 2080 channels of the map halved without padding."""
        name = "Mixed_7a"
        halve = {"strides": 2, "padding": "VALID"}
        first = ("Conv2d_0a_1x1", 256, 1)
        pool = keras.layers.MaxPooling2D(3, 2, "valid", name=f"{name}.Branch_3.pool")
        branches = [
            self.branch(features, f"{name}.Branch_0", [first, ("Conv2d_1a_3x3", 384, 3)], **halve),
            self.branch(features, f"{name}.Branch_1", [first, ("Conv2d_1a_3x3", 288, 3)], **halve),
            self.branch(
                features,
                f"{name}.Branch_2",
                [first, ("Conv2d_0b_3x3", 288, 3), ("Conv2d_1a_3x3", 320, 3)],
                **halve,
            ),
            pool(features),
        ]
        return keras.layers.Concatenate(name=name)(branches)


def build_stage1(output_stride: int, options: Mapping[str, Any]) -> keras.Model:
    """Build up to the last `block17`: [B, H, W, 3] -> [B, H/stride, W/stride, 1088]."""
    network = _Network(options)
    image = keras.Input((None, None, 3), name="image")
    features = network.mixed_5b(network.stem(image))
    for unit in range(1, BLOCK35_UNITS + 1):
        features = network.residual(features, f"Repeat.block35_{unit}", BLOCK35, BLOCK35_SCALE)
    # With stride 8 the map is not halved here, and the blocks that follow dilate instead.
    features = network.mixed_6a(features, stride=output_stride // 8)
    for unit in range(1, BLOCK17_UNITS + 1):
        features = network.residual(
            features,
            f"Repeat_1.block17_{unit}",
            BLOCK17,
            BLOCK17_SCALE,
            dilation=16 // output_stride,
        )
    return keras.Model(image, features, name="InceptionResnetV2_stage1")


def build_stage2(name: str, *, channels: int, options: Mapping[str, Any]) -> keras.Model:
    """Build `Mixed_7a` and the rest, on crops: [N, h, w, C] -> [N, (h-1)//2, (w-1)//2, 1536]."""
    network = _Network(options)
    crops = keras.Input((None, None, channels), name="crops")
    features = network.mixed_7a(crops)
    for unit in range(1, BLOCK8_UNITS + 1):
        features = network.residual(features, f"Repeat.block8_{unit}", BLOCK8, BLOCK8_SCALE)
    features = network.residual(features, "Block8", BLOCK8, 1.0, is_linear=True)
    features = network.conv(features, "Conv2d_7b_1x1", STAGE2_DEPTH, 1)
    return keras.Model(crops, features, name=name)


def build(
    *,
    output_stride: int = 16,
    regularizer: dict[str, Any] | None = None,
    batch_norm_trainable: bool = False,
    trainable: bool = True,
    layer_options: Mapping[str, Any] | None = None,
) -> Backbone:
    """Return Inception-ResNet-v2 for detection.

    Args:
        output_stride: output stride of stage 1, 8 or 16.
        regularizer: Keras description of the loss on kernels and on the projections' biases.
        batch_norm_trainable: normalize by the batch in training; False keeps the averages fixed
            and still trains beta (as the authors' Inception-ResNet does).
        trainable: False freezes the whole network.
        layer_options: arguments of `ConvBatchNorm` that replace the network's own.
    """
    check_stride("Inception-ResNet-v2", output_stride, (8, 16))
    options: dict[str, Any] = {
        "epsilon": EPSILON,
        "momentum": MOMENTUM,
        "scale": False,
        "activation": tf.nn.relu,
        "batch_norm_trainable": batch_norm_trainable,
        # A name, not an initializer: a shared object gives equal layers equal weights.
        "kernel_initializer": "glorot_uniform",
        "kernel_regularizer": regularizer,
        **(layer_options or {}),
    }
    stage1 = build_stage1(output_stride, options)
    stage1.trainable = trainable

    def make_stage2(name: str) -> keras.Model:
        stage2 = build_stage2(name, channels=stage1.output_shape[-1], options=options)
        stage2.trainable = trainable
        return stage2

    return Backbone("InceptionResnetV2", stage1, make_stage2, normalize)
