"""Backbones from the networks of `keras.applications`.

Shape letters: B batch, H W image, N crops, h w a crop, C channels.

A network is divided after its last layer of stride 16. Its layers and variables keep Keras' names,
in checkpoints too (`FirstStageFeatureExtractor/EfficientNetV2B0/stem_conv/kernel`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone, check_stride

# Mean and standard deviation of ImageNet's colors, as fractions of 255.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


def standardize(images: tf.Tensor) -> tf.Tensor:
    """Scale 0..255 to zero mean and unit deviation over ImageNet's colors."""
    return (images / 255.0 - tf.constant(IMAGENET_MEAN)) / tf.constant(IMAGENET_STDDEV)


def scale_to_one(images: tf.Tensor) -> tf.Tensor:
    """Scale 0..255 to -1..1."""
    return images / 127.5 - 1.0


@dataclass(frozen=True)
class Division:
    """Division of a network into the two stages of a backbone.

    Attributes:
        last_of_stage1: name of the layer whose output is the shared feature map.
        normalize: preprocessing of images in 0..255 for the network.
    """

    last_of_stage1: str
    normalize: Callable[[tf.Tensor], tf.Tensor]


DIVISIONS = {
    "EfficientNetV2B0": Division("block5e_add", standardize),
    "MobileNetV3Large": Division("expanded_conv_11_add", scale_to_one),
}


@keras.saving.register_keras_serializable("object_detection_mtl")
class FixedAveragesModel(keras.Model):
    """A model that computes its inference outputs in training too: moving averages, no dropout."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Return the outputs of inference."""
        return super().call(inputs, training=False, mask=mask)


def build(
    *,
    application: str,
    output_stride: int = 16,
    regularizer: dict[str, Any] | None = None,
    batch_norm_trainable: bool = False,
    trainable: bool = True,
    layer_options: Mapping[str, Any] | None = None,
) -> Backbone:
    """Return a network of `keras.applications` for detection, with random weights.

    Args:
        application: its name there, one of `DIVISIONS`.
        output_stride: output stride of stage 1; must be 16.
        regularizer: Keras description of the loss on kernels of full convolutions.
        batch_norm_trainable: normalize by the batch in training, with dropout; False keeps the
            averages fixed, drops nothing, and still trains gamma and beta.
        trainable: False freezes the whole network.
        layer_options: must be empty: the network has layers of its own.

    Raises:
        ValueError: another application or stride, layer options, or a network that is divided at
            another stride.
    """
    check_stride(application, output_stride, (16,))
    if application not in DIVISIONS:
        raise ValueError(
            f"application is {application!r}; must be one of {', '.join(sorted(DIVISIONS))}"
        )
    if layer_options:
        raise ValueError(
            f"feature_extractor: {application} ignores conv_hyperparams; remove "
            "override_base_feature_extractor_hyperparams"
        )
    division = DIVISIONS[application]
    model_class = keras.Model if batch_norm_trainable else FixedAveragesModel

    def prepare(inputs: Any, outputs: Any, name: str) -> keras.Model:
        stage = model_class(inputs, outputs, name=name)
        for layer in stage.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.kernel.regularizer = keras.regularizers.get(regularizer)
        stage.trainable = trainable
        return stage

    def make_network() -> tuple[keras.Model, Any]:
        make = getattr(keras.applications, application)
        network = make(
            weights=None,
            include_top=False,
            include_preprocessing=False,
            input_shape=(None, None, 3),
        )
        return network, network.get_layer(division.last_of_stage1).output

    def make_stage2(name: str) -> keras.Model:
        network, divided = make_network()
        return prepare(divided, network.output, name)

    network, divided = make_network()
    stage1 = prepare(network.input, divided, f"{application}_stage1")
    _check_division(application, stage1)
    return Backbone(application, stage1, make_stage2, division.normalize)


def _check_division(application: str, stage1: keras.Model) -> None:
    """Raise ValueError if the division's layer does not have stride 16."""
    side = 256
    found = side / stage1.compute_output_shape((1, side, side, 3))[1]
    if found != 16:
        raise ValueError(
            f"DIVISIONS[{application!r}]: {DIVISIONS[application].last_of_stage1} has stride "
            f"{found:g}; expected 16. Name the last layer of stride 16"
        )
