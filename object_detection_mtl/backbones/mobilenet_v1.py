"""MobileNet v1 (Howard et al. 2017, arXiv:1704.04861, table 1) for detection.

Shape letters: B batch, H W image, N crops, h w a crop, C channels.

Stage 1 ends after `Conv2d_11_pointwise` (stride 16). Stage 2 is, as in the OD API, two separable
convolutions WITHOUT batch norm and activation between their depthwise and pointwise halves. So each
is one layer here, and is called `Conv2d_12_pointwise` in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone, check_stride
from object_detection_mtl.backbones.conv_batch_norm import (
    ConvBatchNorm,
    SeparableConvBatchNorm,
)

# Stride and output channels of the separable convolutions Conv2d_1 ... Conv2d_13.
SEPARABLE_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
SEPARABLE_DEPTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
LAST_STAGE1_BLOCK = 11
EPSILON = 1e-3


class Width(NamedTuple):
    """Multipliers of the channels of all layers, and the minimum number of channels of a layer."""

    conv_depth_ratio: float = 1.0
    depth_multiplier: float = 1.0
    min_depth: int = 16

    def scale(self, depth: int) -> int:
        """Return the number of channels for `depth` channels in the full network."""
        return max(int(int(depth * self.conv_depth_ratio) * self.depth_multiplier), self.min_depth)


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Scale 0..255 to -1..1."""
    return images * (2.0 / 255.0) - 1.0


def build_stage1(
    *, width: Width, regularizer: dict[str, Any] | None, options: dict[str, Any]
) -> keras.Model:
    """Build `Conv2d_0` to `Conv2d_11_pointwise`: [B, H, W, 3] -> [B, H/16, W/16, 512 scaled].

    Only full and pointwise kernels are regularized, as in TF-Slim: weight decay on the few
    depthwise weights costs accuracy (MobileNet paper, section 3.2).
    """
    image = keras.Input((None, None, 3), name="image")
    features = ConvBatchNorm(
        width.scale(32), 3, strides=2, kernel_regularizer=regularizer, name="Conv2d_0", **options
    )(image)
    for index in range(LAST_STAGE1_BLOCK):
        features = ConvBatchNorm(
            None,
            3,
            strides=SEPARABLE_STRIDES[index],
            depthwise=True,
            name=f"Conv2d_{index + 1}_depthwise",
            **options,
        )(features)
        features = ConvBatchNorm(
            width.scale(SEPARABLE_DEPTHS[index]),
            1,
            kernel_regularizer=regularizer,
            name=f"Conv2d_{index + 1}_pointwise",
            **options,
        )(features)
    return keras.Model(image, features, name="MobilenetV1_stage1")


def build_stage2(
    name: str, *, channels: int, depth: int, stride: int, options: dict[str, Any]
) -> keras.Model:
    """Build the two last convolutions: [N, h, w, C] -> [N, h/stride, w/stride, depth]."""
    crops = keras.Input((None, None, channels), name="crops")
    features = SeparableConvBatchNorm(
        depth, 3, strides=stride, name="Conv2d_12_pointwise", **options
    )(crops)
    features = SeparableConvBatchNorm(depth, 3, name="Conv2d_13_pointwise", **options)(features)
    return keras.Model(crops, features, name=name)


def build(
    *,
    output_stride: int = 16,
    depth_multiplier: float = 1.0,
    min_depth: int = 16,
    conv_depth_ratio: float = 1.0,
    skip_last_stride: bool = False,
    regularizer: dict[str, Any] | None = None,
    batch_norm_trainable: bool = False,
    trainable: bool = True,
    layer_options: Mapping[str, Any] | None = None,
) -> Backbone:
    """Return MobileNet v1 for detection, stride 16.

    Args:
        output_stride: output stride of stage 1; must be 16.
        depth_multiplier: factor on the channels of every layer.
        min_depth: fewest channels of a layer.
        conv_depth_ratio: another factor, applied (and rounded down) before `depth_multiplier`.
        skip_last_stride: stage 2 keeps the size of the crops.
        regularizer: Keras description of the loss on full and pointwise kernels.
        batch_norm_trainable: normalize by the batch in training; False keeps the averages fixed
            and still trains gamma and beta (as the authors' MobileNet does).
        trainable: False freezes the whole network.
        layer_options: arguments of `ConvBatchNorm` that replace the network's own.
    """
    check_stride("MobileNet v1", output_stride, (16,))
    options: dict[str, Any] = {
        "epsilon": EPSILON,
        "activation": tf.nn.relu6,
        "batch_norm_trainable": batch_norm_trainable,
        # A description, not an initializer: a shared object gives equal layers equal weights.
        "kernel_initializer": {"class_name": "TruncatedNormal", "config": {"stddev": 0.09}},
        **(layer_options or {}),
    }
    width = Width(conv_depth_ratio, depth_multiplier, min_depth)
    stage1 = build_stage1(
        width=width,
        regularizer=regularizer,
        options=options,
    )
    stage1.trainable = trainable

    def make_stage2(name: str) -> keras.Model:
        stage2 = build_stage2(
            name,
            channels=stage1.output_shape[-1],
            depth=width.scale(SEPARABLE_DEPTHS[-1]),
            stride=1 if skip_last_stride else 2,
            options=options,
        )
        stage2.trainable = trainable
        return stage2

    return Backbone("MobilenetV1", stage1, make_stage2, normalize)
