"""Region proposal network (Ren et al. 2015, section 3.1).

Shape letters: B batch, fh fw feature map, C channels, A anchors = fh * fw * anchors per cell,
P proposals, G padded ground-truth boxes. Anchors and proposals are in absolute pixels of the
(resized, padded) inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from object_detection_mtl.fields import Losses, Predictions
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops import sampler, targets
from object_detection_mtl.ops.anchors import GridAnchorGenerator
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams


@dataclass(frozen=True)
class RpnSampling:
    """Selection of the anchors that the first stage trains on.

    Attributes:
        minibatch_size: maximum number of anchors of an image.
        positive_fraction: maximum fraction of positive anchors.
        matched_threshold, unmatched_threshold: an anchor is positive from the first IoU on,
            negative below the second; between the two it is ignored.
        localization_sigma: the smooth-L1 loss is quadratic below 1 / sigma^2, then of slope 1
            (3 in the paper, 1 in the OD API).
    """

    minibatch_size: int = 256
    positive_fraction: float = 0.5
    matched_threshold: float = 0.7
    unmatched_threshold: float = 0.3
    localization_sigma: float = 1.0


class RegionProposalNetwork(keras.layers.Layer):
    """A convolution on the shared features, then a box and an objectness head per anchor."""

    def __init__(
        self,
        *,
        in_channels: int,
        anchor_generator: GridAnchorGenerator | None = None,
        depth: int = 512,
        kernel_size: int = 3,
        atrous_rate: int = 1,
        activation: Callable[[tf.Tensor], tf.Tensor] | None = tf.nn.relu6,
        hyperparams: LayerHyperparams | None = None,
        sampling: RpnSampling | None = None,
        trainable: bool = True,
        name: str = "FirstStageBoxPredictor",
    ) -> None:
        super().__init__(name=name)
        hyperparams = hyperparams or LayerHyperparams()
        anchor_generator = anchor_generator or GridAnchorGenerator()
        self.anchor_generator = anchor_generator
        self.sampling = sampling or RpnSampling()
        per_cell = anchor_generator.num_anchors_per_location
        self.conv = keras.layers.Conv2D(
            depth,
            kernel_size,
            padding="same",
            dilation_rate=atrous_rate,
            activation=activation,
            name="Conv",
            **hyperparams.kernel_options(),
        )
        self.box_head = keras.layers.Conv2D(
            per_cell * 4, 1, name="BoxEncodingPredictor", **hyperparams.kernel_options()
        )
        self.class_head = keras.layers.Conv2D(
            per_cell * 2, 1, name="ClassPredictor", **hyperparams.kernel_options()
        )
        self.conv.build((None, None, None, in_channels))
        self.box_head.build((None, None, None, depth))
        self.class_head.build((None, None, None, depth))
        self.trainable = trainable  # after the layers, which Keras then freezes too
        self.built = True

    @property
    def bfloat16_layers(self) -> tuple[keras.layers.Layer, ...]:
        """The layers that mixed precision computes in bfloat16: all except the outputs."""
        return (self.conv,)

    def call(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return encodings [B, A, 4], objectness logits [B, A, 2] and anchors [A, 4]."""
        hidden = tf.cast(self.conv(features), tf.float32)
        batch = tf.shape(features)[0]
        return {
            Predictions.rpn_box_predictor_features: hidden,
            Predictions.rpn_box_encodings: tf.reshape(self.box_head(hidden), [batch, -1, 4]),
            Predictions.rpn_objectness: tf.reshape(self.class_head(hidden), [batch, -1, 2]),
            Predictions.anchors: self.anchors(features),
        }

    def anchors(self, features: tf.Tensor) -> tf.Tensor:
        """Return the anchors [A, 4] of a feature map, static where its shape is."""
        height, width = features.shape[1:3]
        dynamic = tf.shape(features)
        return self.anchor_generator.generate(
            dynamic[1] if height is None else height, dynamic[2] if width is None else width
        )

    def loss(
        self,
        predictions: dict[str, tf.Tensor],
        absolute_groundtruth_boxes: tf.Tensor,
        num_groundtruth: tf.Tensor,
        groundtruth_weights: tf.Tensor | None,
        seed: sampler.Seed,
    ) -> dict[str, tf.Tensor]:
        """Return localization and objectness loss, means over the sample and over images.

        Args:
            predictions: with the encodings [B, A, 4], logits [B, A, 2], anchors [A, 4] or
                [B, A, 4] and the mask [B, A] of those that count.
            absolute_groundtruth_boxes: [B, G, 4] pixels of the inputs.
            num_groundtruth: [B].
            groundtruth_weights: [B, G] or None.
            seed: seed of the random sample, see `sampler.sample_balanced`.
        """
        inside = predictions[Predictions.anchors_inside]
        assigned = targets.assign_proposal_targets(
            predictions[Predictions.anchors],
            absolute_groundtruth_boxes,
            num_groundtruth,
            groundtruth_weights,
            valid_anchors=inside,
            matched_threshold=self.sampling.matched_threshold,
            unmatched_threshold=self.sampling.unmatched_threshold,
        )
        positive = assigned.class_targets > 0.5
        sampled = sampler.sample_balanced(
            assigned.class_weights > 0,
            positive,
            batch_size=self.sampling.minibatch_size,
            positive_fraction=self.sampling.positive_fraction,
            seed=seed,
        )
        mask = tf.cast(sampled, tf.float32)
        # An image without any usable anchor contributes 0, not 0/0.
        normalizer = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)
        localization = loss_ops.smooth_l1_sigma(
            predictions[Predictions.rpn_box_encodings],
            assigned.box_targets,
            assigned.box_weights * mask,
            sigma=self.sampling.localization_sigma,
        )
        objectness = loss_ops.softmax_cross_entropy(
            predictions[Predictions.rpn_objectness],
            tf.one_hot(tf.cast(positive, tf.int32), 2),
            assigned.class_weights * mask,
        )
        return {
            Losses.rpn_localization: tf.reduce_mean(tf.reduce_sum(localization, 1) / normalizer),
            Losses.rpn_objectness: tf.reduce_mean(tf.reduce_sum(objectness, 1) / normalizer),
        }
