"""Base classes of second-stage heads on crops and on maps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.predictors.predictor_layers import linear_names


def apply_stage2(stage2: keras.Model, inputs: tf.Tensor, training: bool | None) -> tf.Tensor:
    """Return the features of a stage 2, in float32 with mixed precision, too.

    Args:
        stage2: of the backbone.
        inputs: crops [N, h, w, C] or the shared map [B, fh, fw, C].
        training: whether it runs as in training.
    """
    return tf.cast(stage2(inputs, training=training), tf.float32)


class MainRegionHead(keras.layers.Layer):
    """The head of a second stage: the backbone's stage 2, then a predictor."""

    def __init__(
        self, stage2: keras.Model, predictor: keras.layers.Layer, name: str = "head"
    ) -> None:
        super().__init__(name=name)
        self.stage2 = stage2
        self.predictor = predictor
        self.built = True


class AuxiliaryRegionHead(keras.layers.Layer):
    """A predictor without boxes, after a stage 2 of its own or the main one."""

    def __init__(
        self,
        predictor: Any,
        *,
        stage2: keras.Model | None,
        backbone_scope: str,
        stop_gradient: bool = False,
        recompute: bool = False,
    ) -> None:
        """Make the layer.

        Args:
            predictor: without boxes; has `linear_layers`.
            stage2: its own copy; None reads the features of the main stage 2.
            backbone_scope: the backbone's scope in checkpoints.
            stop_gradient: nothing before the head's own layers is trained through it.
            recompute: in training, compute stage 2 again for its gradients.
        """
        super().__init__(name=predictor.name)
        self.predictor = predictor
        self.stage2 = stage2
        self.backbone_scope = backbone_scope
        self.stop_gradient = stop_gradient
        self.recompute = recompute
        self.built = True

    def apply(
        self,
        stage2: Callable[[tf.Tensor], tf.Tensor],
        inputs: tf.Tensor,
        *,
        training: bool,
    ) -> tf.Tensor:
        """Return `stage2(inputs)`, in training computed again for its gradients if wanted.

        Args:
            stage2: inputs -> features, without other tensors that have gradients. It assigns no
                variables and draws no random numbers.
            inputs: crops or the shared map.
            training: whether there will be gradients.
        """
        if self.recompute and training:
            return tf.recompute_grad(stage2)(inputs)
        return stage2(inputs)

    def apply_own(self, inputs: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Return the features of the head's own stage 2, see `apply`."""
        assert self.stage2 is not None
        stage2 = functools.partial(apply_stage2, self.stage2, training=training)
        return self.apply(stage2, inputs, training=training)

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        names = linear_names(self.name, self.predictor.linear_layers)
        if self.stage2 is not None:
            names |= checkpoint_names(self.stage2, f"{self.name}/{self.backbone_scope}")
        return names
