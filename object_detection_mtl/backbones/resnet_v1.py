"""ResNet-50, 101 and 152 v1 (He et al. 2015, arXiv:1512.03385, table 1) for detection.

Shape letters: B batch, H W image, N crops, h w a crop.

Stage 1 is `conv1` to `block3`, stage 2 is `block4`. There are two forms of the network, whose
weights are not interchangeable:

* TF-Slim's (the OD API in TensorFlow 1, the authors): the LAST unit of a block halves the map, in
    its 3x3 convolution, not the first unit of the next block; so stage 2 does not halve its input.
    Once the output stride is reached, the remaining blocks are dilated instead.
* Keras' (the OD API in TensorFlow 2): the first unit of a block halves the map, in its first 1x1
  convolution, stage 2 too. As the OD API builds it: no biases, and padding as in TF-Slim.

Strided convolutions pad by their kernel on both sides, independent of the input's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone, check_stride, freeze_layers
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm

# Units of the blocks 1, 2, 3, 4, by the number of layers.
UNITS: dict[int, tuple[int, int, int, int]] = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
# Channels within the bottlenecks of each block; they go out times EXPANSION.
BLOCK_DEPTHS = (64, 128, 256, 512)
EXPANSION = 4
STAGE1_BLOCKS = 3
STRIDE_BEFORE_BLOCKS = 4
EPSILON = 1e-5
MOMENTUM = 0.997
# Mean of the ImageNet images, red green blue.
CHANNEL_MEANS = (123.68, 116.779, 103.939)


class Block(NamedTuple):
    """Size of one block.

    Attributes:
        name: name of the block, such as `block1`.
        units: number of bottlenecks.
        depth: channels inside a bottleneck.
        stride: stride of the last unit, or with `stride_first` of the first.
        dilation: dilation of all units.
        stride_first: the first unit's first convolution has the stride (Keras), not the last
            unit's 3x3 convolution (TF-Slim).
    """

    name: str
    units: int
    depth: int
    stride: int
    dilation: int = 1
    stride_first: bool = False


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Subtract the mean of ImageNet's images from 0..255."""
    return images - tf.constant(CHANNEL_MEANS)


def stage1_blocks(num_layers: int, output_stride: int) -> list[Block]:
    """Return blocks 1 to 3, which halve the map until `output_stride` and dilate from there on."""
    blocks = []
    current, dilation = STRIDE_BEFORE_BLOCKS, 1
    for index in range(STAGE1_BLOCKS):
        stride = 2 if current < output_stride else 1
        blocks.append(
            Block(
                f"block{index + 1}",
                UNITS[num_layers][index],
                BLOCK_DEPTHS[index],
                stride,
                dilation,
            )
        )
        current *= stride
        dilation *= 2 // stride
    return blocks


def keras_blocks(num_layers: int) -> list[Block]:
    """Return blocks 1 to 4 of the Keras form; all but the first halve the map."""
    return [
        Block(
            f"block{index + 1}",
            units,
            depth,
            stride=2 if index else 1,
            stride_first=True,
        )
        for index, (units, depth) in enumerate(zip(UNITS[num_layers], BLOCK_DEPTHS, strict=True))
    ]


def bottleneck(
    features: Any,
    *,
    name: str,
    depth: int,
    stride: int,
    dilation: int,
    stride_first: bool,
    options: dict[str, Any],
) -> Any:
    """Apply 1x1 to `depth` channels, 3x3, 1x1 to four times as many; add them to the input."""
    activation = options["activation"]
    linear = {**options, "activation": None}
    outputs = EXPANSION * depth
    if features.shape[-1] != outputs:
        shortcut = ConvBatchNorm(outputs, 1, strides=stride, name=f"{name}.shortcut", **linear)(
            features
        )
    elif stride > 1:
        shortcut = keras.layers.MaxPooling2D(1, stride, name=f"{name}.subsample")(features)
    else:
        shortcut = features
    stride1, stride2 = (stride, 1) if stride_first else (1, stride)
    residual = ConvBatchNorm(depth, 1, strides=stride1, name=f"{name}.conv1", **options)(features)
    residual = ConvBatchNorm(
        depth,
        3,
        strides=stride2,
        dilation=dilation,
        padding="SYMMETRIC" if stride2 > 1 else "SAME",
        name=f"{name}.conv2",
        **options,
    )(residual)
    residual = ConvBatchNorm(outputs, 1, name=f"{name}.conv3", **linear)(residual)
    features = keras.layers.Add(name=f"{name}.add")([shortcut, residual])
    return keras.layers.Activation(activation, name=f"{name}.activation")(features)


def stack(features: Any, block: Block, options: dict[str, Any]) -> Any:
    """Apply the units of one block."""
    strided_unit = 1 if block.stride_first else block.units
    for unit in range(1, block.units + 1):
        features = bottleneck(
            features,
            name=f"{block.name}.unit_{unit}.bottleneck_v1",
            depth=block.depth,
            stride=block.stride if unit == strided_unit else 1,
            dilation=block.dilation,
            stride_first=block.stride_first,
            options=options,
        )
    return features


def build_stage1(name: str, blocks: Sequence[Block], options: dict[str, Any]) -> keras.Model:
    """Build `conv1` to `block3`: [B, H, W, 3] -> [B, H/stride, W/stride, 1024]."""
    image = keras.Input((None, None, 3), name="image")
    features = ConvBatchNorm(64, 7, strides=2, padding="SYMMETRIC", name="conv1", **options)(image)
    features = keras.layers.MaxPooling2D(3, 2, padding="same", name="pool1")(features)
    for block in blocks:
        features = stack(features, block, options)
    return keras.Model(image, features, name=name)


def build_stage2(name: str, block: Block, options: dict[str, Any]) -> keras.Model:
    """Build `block4` on crops: [N, h, w, 1024] -> [N, h/stride, w/stride, 2048]."""
    crops = keras.Input((None, None, EXPANSION * BLOCK_DEPTHS[-2]), name="crops")
    return keras.Model(crops, stack(crops, block, options), name=name)


def is_frozen(frozen_blocks: int, keras_form: bool) -> Callable[[str], bool]:
    """Return a function: layer name -> whether it is in or before the first `frozen_blocks` blocks.

    `conv1` never trains in the TF-Slim form.
    """
    frozen = {f"block{index + 1}" for index in range(frozen_blocks)}
    if frozen or not keras_form:
        frozen.add("conv1")
    return lambda name: name.split(".")[0] in frozen


def build(
    *,
    num_layers: int,
    output_stride: int = 16,
    regularizer: dict[str, Any] | None = None,
    batch_norm_trainable: bool = False,
    trainable: bool = True,
    frozen_blocks: int = 0,
    keras_form: bool = False,
    layer_options: Mapping[str, Any] | None = None,
) -> Backbone:
    """Return ResNet v1 for detection.

    Args:
        num_layers: 50, 101 or 152.
        output_stride: output stride of stage 1, 8 or 16; in the Keras form 16.
        regularizer: Keras description of the loss on kernels.
        batch_norm_trainable: normalize by the batch in training; False keeps averages fixed, and
            gamma and beta too, except in the Keras form.
        trainable: False freezes the whole network.
        frozen_blocks: the first blocks that do not train; in the TF-Slim form `conv1` never does.
        keras_form: see above; otherwise TF-Slim's.
        layer_options: arguments of `ConvBatchNorm` that replace the network's own.
    """
    if num_layers not in UNITS:
        raise ValueError(f"num_layers is {num_layers}; must be one of {sorted(UNITS)}")
    form = "Keras" if keras_form else "TF-Slim"
    allowed = (16,) if keras_form else (8, 16)
    check_stride(f"ResNet v1 in the {form} form", output_stride, allowed)
    options: dict[str, Any] = {
        "epsilon": EPSILON,
        "momentum": MOMENTUM,
        "activation": tf.nn.relu,
        "batch_norm_trainable": batch_norm_trainable,
        "scale_and_offset_trainable": batch_norm_trainable or keras_form,
        # A description, not an initializer: a shared object gives equal layers equal weights.
        "kernel_initializer": {"class_name": "VarianceScaling", "config": {"scale": 2.0}},
        "kernel_regularizer": regularizer,
        **(layer_options or {}),
    }
    freeze = is_frozen(frozen_blocks, keras_form)
    name = f"resnet_v1_{num_layers}{'_keras' if keras_form else ''}"
    if keras_form:
        *blocks, block4 = keras_blocks(num_layers)
    else:
        blocks = stage1_blocks(num_layers, output_stride)
        block4 = Block("block4", UNITS[num_layers][-1], BLOCK_DEPTHS[-1], stride=1)

    def frozen(model: keras.Model) -> keras.Model:
        freeze_layers(model, freeze)
        if not trainable:
            model.trainable = False
        return model

    return Backbone(
        name,
        frozen(build_stage1(f"{name}_stage1", blocks, options)),
        lambda name: frozen(build_stage2(name, block4, options)),
        normalize,
    )
