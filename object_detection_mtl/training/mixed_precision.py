"""Mixed precision: convolutions and feature maps of a training step in bfloat16.

bfloat16 has float32's range, so losses need no scaling, and 8 bits of mantissa. The layers of the
backbone's two stages and the hidden layers of the heads get Keras' policy `mixed_bfloat16`: their
variables stay float32 and are cast where they are used, so gradients, optimizer and checkpoints are
float32. Everything else computes in float32: outputs of the heads, boxes, crops, losses, batch
normalization, the refiner. So do depthwise convolutions and averages, for the reasons that
`export.graph.bfloat16_convolutions` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl import cpu_features
from object_detection_mtl.backbones.inception_v2 import DilatedAveragePooling
from object_detection_mtl.predictors.region_head import AuxiliaryRegionHead, MainRegionHead

POLICY = "mixed_bfloat16"
_FLOAT32_LAYERS = (
    keras.layers.InputLayer,
    keras.layers.DepthwiseConv2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    DilatedAveragePooling,
)


def device_has_bfloat16(strategy: tf.distribute.Strategy) -> bool:
    """Return whether the devices of a run compute products in bfloat16 faster than in float32.

    GPUs and TPUs count as such; of a CPU, its list of instructions decides.
    """
    if isinstance(strategy, tf.distribute.TPUStrategy) or tf.config.list_logical_devices("GPU"):
        return True
    return cpu_features.has_bfloat16_products()


def use_bfloat16(detector: Any) -> None:
    """Let a built detector compute in bfloat16, see above; its variables do not change.

    Args:
        detector: a `TwoStageDetector` that is not traced yet.
    """
    for layer in _layers(detector):
        is_float32 = isinstance(layer, _FLOAT32_LAYERS) or getattr(layer, "depthwise", False)
        if not is_float32:
            layer.dtype_policy = POLICY


def _layers(detector: Any) -> Iterator[keras.layers.Layer]:
    """Yield the layers to cast and, between them, those that stay float32."""
    yield from _layers_of(detector.backbone.stage1)
    yield from detector.region_proposals.bfloat16_layers
    for head in detector._flatten_layers():
        if isinstance(head, (MainRegionHead, AuxiliaryRegionHead)):
            if head.stage2 is not None:
                yield from _layers_of(head.stage2)
            yield from head.predictor.bfloat16_layers


def _layers_of(stage: keras.Model) -> Iterator[keras.layers.Layer]:
    return (layer for layer in stage._flatten_layers() if not isinstance(layer, keras.Model))
