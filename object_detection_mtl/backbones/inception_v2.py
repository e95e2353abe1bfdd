"""Inception v2 (Ioffe and Szegedy 2015, arXiv:1502.03167) for detection.

Shape letters: B batch, H W image, N crops, h w a crop, C channels.

Stage 1 ends with `Mixed_4e`; stage 2, on crops, is `Mixed_5a` to `Mixed_5c`. With output stride 8
`Mixed_4a` does not halve the map, and the convolutions and poolings after it are dilated: at every
second cell of a map with odd sides the features are those of stride 16.

Batch normalization has no gamma in TF-Slim's classifier, but has one in the OD API's detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone, check_stride
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm, SeparableConvBatchNorm

SCOPE = "InceptionV2"
EPSILON = 1e-3
MOMENTUM = 0.9997
# The first depthwise convolution makes this many maps of each color.
MAX_DEPTHWISE_MULTIPLIER = 8
# Deviation of the first weights: of the first convolution, of a 1x1 convolution after the stem, of
# one that reduces depth before a 3x3, of one after a pooling. The others start from Glorot's.
STEM_STDDEV, STEM_1X1_STDDEV, REDUCE_STDDEV, POOL_STDDEV = 1.0, 0.1, 0.09, 0.1


class Mixed(NamedTuple):
    """Output channels of the branches of an Inception block.

    Attributes:
        single: channels of the 1x1 convolution; None in a block that halves the map.
        double: channels of the 1x1 and the 3x3 convolution of the second branch.
        triple: channels of the 1x1 and each of the two 3x3 convolutions of the third branch.
        pooled: channels of the 1x1 convolution after pooling; None in a block that halves the map.
        pooling: "average" or "max".
    """

    single: int | None
    double: tuple[int, int]
    triple: tuple[int, int]
    pooled: int | None
    pooling: str = "average"


STAGE1_BLOCKS = {
    "Mixed_3b": Mixed(64, (64, 64), (64, 96), 32),
    "Mixed_3c": Mixed(64, (64, 96), (64, 96), 64),
    "Mixed_4a": Mixed(None, (128, 160), (64, 96), None, "max"),
    "Mixed_4b": Mixed(224, (64, 96), (96, 128), 128),
    "Mixed_4c": Mixed(192, (96, 128), (96, 128), 128),
    "Mixed_4d": Mixed(160, (128, 160), (128, 160), 96),
    "Mixed_4e": Mixed(96, (128, 192), (160, 192), 96),
}
STAGE2_BLOCKS = {
    "Mixed_5a": Mixed(None, (128, 192), (192, 256), None, "max"),
    "Mixed_5b": Mixed(352, (192, 320), (160, 224), 128),
    "Mixed_5c": Mixed(352, (192, 320), (192, 224), 128, "max"),
}


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Scale 0..255 to -1..1."""
    return images * (2.0 / 255.0) - 1.0


class DilatedAveragePooling(keras.layers.Layer):
    """Average pooling of 3x3 cells with dilation; cells outside the map are not counted."""

    def __init__(self, dilation: int, name: str) -> None:
        super().__init__(name=name)
        self.dilation = dilation

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Return the means [B, h, w, C] of features [B, h, w, C]."""
        sums = self._sum_cells(features)
        return sums / self._sum_cells(tf.ones_like(features[:1, :, :, :1]))

    def _sum_cells(self, maps: tf.Tensor) -> tf.Tensor:
        kernel = tf.ones([3, 3, maps.shape[-1], 1], maps.dtype)
        dilations = [self.dilation, self.dilation]
        return tf.nn.depthwise_conv2d(maps, kernel, [1, 1, 1, 1], "SAME", dilations=dilations)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape


class _Network:
    """Builder of layers with common options and scaled depths."""

    def __init__(self, options: Mapping[str, Any], depth_multiplier: float, min_depth: int) -> None:
        self.options = dict(options)
        self.depth_multiplier = depth_multiplier
        self.min_depth = min_depth

    def depth(self, full: int) -> int:
        """Return the number of channels of a layer that has `full` channels in the full network."""
        return max(int(full * self.depth_multiplier), self.min_depth)

    def conv(
        self,
        features: Any,
        name: str,
        full_depth: int,
        size: int,
        stddev: float = 0.0,
        **options: Any,
    ) -> Any:
        """Apply a convolution.

        Args:
            features: [B, h, w, C].
            name: name of the layer.
            full_depth: output channels in the full network.
            size: size of the kernel.
            stddev: standard deviation of the truncated normal initializer; 0 keeps the common one.
            **options: of `ConvBatchNorm`.
        """
        options = {**self._initial(stddev), **options}
        return ConvBatchNorm(self.depth(full_depth), size, name=name, **options)(features)

    def _initial(self, stddev: float) -> dict[str, Any]:
        """Return the common options with another initializer, unless a config gives one."""
        if stddev and self.options["kernel_initializer"] is None:
            # A description: a shared initializer would give equal layers equal weights.
            normal = {"class_name": "TruncatedNormal", "config": {"stddev": stddev}}
            return {**self.options, "kernel_initializer": normal}
        chosen = self.options["kernel_initializer"] or "glorot_uniform"
        return {**self.options, "kernel_initializer": chosen}

    def stem(self, image: Any) -> Any:
        """Return [B, H/8, W/8, 192] from images [B, H, W, 3]."""
        depth = self.depth(64)
        features = SeparableConvBatchNorm(
            depth,
            7,
            strides=2,
            depth_multiplier=min(depth // 3, MAX_DEPTHWISE_MULTIPLIER),
            name="Conv2d_1a_7x7",
            **self._initial(STEM_STDDEV),
        )(image)
        features = keras.layers.MaxPooling2D(3, 2, "same", name="MaxPool_2a_3x3")(features)
        features = self.conv(features, "Conv2d_2b_1x1", 64, 1, STEM_1X1_STDDEV)
        features = self.conv(features, "Conv2d_2c_3x3", 192, 3)
        return keras.layers.MaxPooling2D(3, 2, "same", name="MaxPool_3a_3x3")(features)

    def mixed(
        self, features: Any, name: str, block: Mixed, *, stride: int = 1, dilation: int = 1
    ) -> Any:
        """Apply an Inception block: branches side by side, then their concatenation."""
        pool = self._pooling(f"{name}.Branch_3.pool", block, stride, dilation)
        if block.single is None or block.pooled is None:
            branches = [
                self._reduced(features, f"{name}.Branch_0", block.double, ["1a"], stride),
                self._reduced(features, f"{name}.Branch_1", block.triple, ["0b", "1a"], stride),
                pool(features),
            ]
        else:
            places = ["0b", "0c"]
            branches = [
                self.conv(features, f"{name}.Branch_0.Conv2d_0a_1x1", block.single, 1),
                self._reduced(features, f"{name}.Branch_1", block.double, places[:1], 1, dilation),
                self._reduced(features, f"{name}.Branch_2", block.triple, places, 1, dilation),
                self.conv(
                    pool(features),
                    f"{name}.Branch_3.Conv2d_0b_1x1",
                    block.pooled,
                    1,
                    POOL_STDDEV,
                ),
            ]
        return keras.layers.Concatenate(name=name)(branches)

    def _reduced(
        self,
        features: Any,
        name: str,
        depths: tuple[int, int],
        places: Sequence[str],
        stride: int,
        dilation: int = 1,
    ) -> Any:
        """Apply a 1x1 convolution, then one of 3x3 for each of `places`, the last with a stride."""
        features = self.conv(features, f"{name}.Conv2d_0a_1x1", depths[0], 1, REDUCE_STDDEV)
        for place in places:
            features = self.conv(
                features,
                f"{name}.Conv2d_{place}_3x3",
                depths[1],
                3,
                strides=stride if place == places[-1] else 1,
                dilation=dilation,
            )
        return features

    def _pooling(self, name: str, block: Mixed, stride: int, dilation: int) -> Any:
        if block.pooling == "max":
            return keras.layers.MaxPooling2D(3, stride, "same", name=name)
        if dilation > 1:
            return DilatedAveragePooling(dilation, name)
        return keras.layers.AveragePooling2D(3, 1, "same", name=name)


def build_stage1(network: _Network, output_stride: int) -> keras.Model:
    """Build `Conv2d_1a_7x7` to `Mixed_4e`: [B, H, W, 3] -> [B, H/stride, W/stride, 576]."""
    image = keras.Input((None, None, 3), name="image")
    features = network.stem(image)
    dilation = 1
    for name, block in STAGE1_BLOCKS.items():
        stride = 1
        if block.single is None:
            stride = output_stride // 8
        features = network.mixed(features, name, block, stride=stride, dilation=dilation)
        if block.single is None:
            dilation = 16 // output_stride
    return keras.Model(image, features, name=f"{SCOPE}_stage1")


def build_stage2(network: _Network, name: str, channels: int) -> keras.Model:
    """Build `Mixed_5a` to `Mixed_5c` on crops: [N, h, w, C] -> [N, h/2, w/2, 1024]."""
    crops = keras.Input((None, None, channels), name="crops")
    features = crops
    for block_name, block in STAGE2_BLOCKS.items():
        stride = 2 if block.single is None else 1
        features = network.mixed(features, block_name, block, stride=stride)
    return keras.Model(crops, features, name=name)


def build(
    *,
    output_stride: int = 16,
    depth_multiplier: float = 1.0,
    min_depth: int = 16,
    regularizer: dict[str, Any] | None = None,
    batch_norm_trainable: bool = False,
    trainable: bool = True,
    layer_options: Mapping[str, Any] | None = None,
) -> Backbone:
    """Return Inception v2 for detection.

    Args:
        output_stride: output stride of stage 1, 8 or 16.
        depth_multiplier: factor on the channels of every layer.
        min_depth: fewest channels of a layer.
        regularizer: Keras description of the loss on kernels, the depthwise one excepted.
        batch_norm_trainable: normalize by the batch in training; False keeps averages fixed and
            still trains gamma and beta.
        trainable: False freezes the whole network.
        layer_options: arguments of `ConvBatchNorm` that replace the network's own.

    Raises:
        ValueError: a stride or a depth multiplier that the network does not have.
    """
    check_stride("Inception v2", output_stride, (8, 16))
    if depth_multiplier <= 0:
        raise ValueError(f"depth_multiplier is {depth_multiplier}, expected a number > 0")
    options: dict[str, Any] = {
        "epsilon": EPSILON,
        "momentum": MOMENTUM,
        "activation": tf.nn.relu,
        "batch_norm_trainable": batch_norm_trainable,
        "kernel_initializer": None,
        "kernel_regularizer": regularizer,
        **(layer_options or {}),
    }
    network = _Network(options, depth_multiplier, min_depth)
    stage1 = build_stage1(network, output_stride)
    stage1.trainable = trainable

    def make_stage2(name: str) -> keras.Model:
        stage2 = build_stage2(network, name, stage1.output_shape[-1])
        stage2.trainable = trainable
        return stage2

    return Backbone(SCOPE, stage1, make_stage2, normalize)
