"""The second stage of R-FCN: score maps once per image, pooled for every proposal.

Shape letters: B batch, fh fw C shared feature map, P proposals, K classes without background.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from object_detection_mtl.fields import Predictions
from object_detection_mtl.predictors.map_head import MapHead, MapRegions


class MapSecondStage(keras.layers.Layer):
    """`MapHead` on the proposals; called like `faster_rcnn.CropSecondStage`."""

    def __init__(self, head: MapHead, *, name: str = "second_stage") -> None:
        super().__init__(name=name)
        self.head = head
        self.built = True

    def read(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> MapRegions:
        """What this stage, and heads that read the same, classify.

        Args:
            features: [B, fh, fw, C].
            boxes: proposals [B, P, 4], relative to the feature map (0..1 of the padded inputs).
        """
        return MapRegions(boxes, features, self.head.stage2(features, training=training))

    def predict(self, regions: MapRegions, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Refined box encodings [B, P, K, 4] and class logits [B, P, K + 1]."""
        encodings, logits = self.head.predictor(
            regions.classifier_features, regions.boxes, training=training
        )
        return {
            Predictions.refined_box_encodings: encodings,
            Predictions.class_predictions: logits,
        }

    def call(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """`read`, then `predict`."""
        return self.predict(self.read(features, boxes, training), training)
