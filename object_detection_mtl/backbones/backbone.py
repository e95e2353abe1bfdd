"""Interface of a backbone: two stages, preprocessing, names in checkpoints.

Shape letters: B batch, H W height and width of an image, h w of a crop, N crops, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Backbone:
    """A classification network, divided into the two stages of a detector.

    Attributes:
        scope: scope of its variables in checkpoints, such as `MobilenetV1`.
        stage1: [B, H, W, 3] normalized -> [B, H/stride, W/stride, C] features shared by all heads.
        make_stage2: name -> a new second-stage block, [N, h, w, C] -> [N, h', w', C'].
            Every head with its own copy calls it once.
        normalize: float32 images in 0..255 -> the range that the network was trained on.
    """

    scope: str
    stage1: keras.Model
    make_stage2: Callable[[str], keras.Model]
    normalize: Callable[[tf.Tensor], tf.Tensor]


class BuildBackbone(Protocol):
    """The function `build` of every backbone module."""

    def __call__(
        self,
        *,
        output_stride: int,
        regularizer: dict[str, Any] | None,
        batch_norm_trainable: bool,
        trainable: bool,
        layer_options: Mapping[str, Any],
        **options: Any,
    ) -> Backbone:
        """Return a backbone.

        Args:
            output_stride: output stride of stage 1, in pixels.
            regularizer: Keras description of the loss on kernels; None is no loss.
            batch_norm_trainable: normalize by the batch in training; False keeps averages fixed.
            trainable: False freezes the whole network.
            layer_options: arguments of `ConvBatchNorm` that replace the network's own.
            **options: arguments of the registry entry, and of the config fields that it names.
        """


def checkpoint_names(stage: keras.Model, prefix: str) -> dict[str, keras.Variable]:
    """Return name in checkpoints -> variable, for one stage of a backbone.

    Variables of a layer with a counterpart in TF-Slim have TF-Slim's names, with "/" for the "." in
    the name of the layer; all others have the names of the layer and the variable.

    Args:
        stage: stage 1, or a copy of stage 2.
        prefix: scope of the names, such as `FirstStageFeatureExtractor/MobilenetV1`.
    """
    names: dict[str, keras.Variable] = {}
    for layer in stage.layers:
        if hasattr(layer, "tf_slim_variables"):
            variables = layer.tf_slim_variables()
        else:
            variables = {variable.name: variable for variable in layer.weights}
        scope = f"{prefix}/{layer.name.replace('.', '/')}"
        names |= {f"{scope}/{suffix}": variable for suffix, variable in variables.items()}
    return names


def freeze_layers(stage: keras.Model, is_frozen: Callable[[str], bool]) -> None:
    """Make every layer whose name satisfies `is_frozen` untrainable."""
    for layer in stage.layers:
        if is_frozen(layer.name):
            layer.trainable = False


def check_stride(network: str, output_stride: int, allowed: tuple[int, ...]) -> None:
    """Raise ValueError if stage 1 of a network does not have this stride."""
    if output_stride not in allowed:
        raise ValueError(
            f"output_stride is {output_stride}; {network} supports "
            f"{' and '.join(map(str, allowed))}"
        )
