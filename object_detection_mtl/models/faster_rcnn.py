"""Second stage of Faster R-CNN: crop, classify and refine each proposal.

Shape letters: B batch, fh fw C shared feature map, P proposals, K classes without background.
"""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from object_detection_mtl.fields import Predictions
from object_detection_mtl.ops import roi
from object_detection_mtl.predictors.region_head import apply_stage2
from object_detection_mtl.predictors.roi_head import CropRegions, RoiHead


class CropSecondStage(keras.layers.Layer):
    """RoI crop, optional max-pool, `RoiHead`."""

    def __init__(
        self,
        head: RoiHead,
        *,
        crop_size: int = 7,
        pool_size: int = 1,
        pool_stride: int = 1,
        name: str = "second_stage",
    ) -> None:
        """Make the layer.

        Args:
            head: head on the crops.
            crop_size: side of the bilinear crop, in cells (`initial_crop_size`).
            pool_size: side of the max-pool that follows, in cells; 1 is none.
            pool_stride: stride of the max-pool.
            name: name of the layer.
        """
        super().__init__(name=name)
        if not 1 <= pool_size <= crop_size:
            raise ValueError(
                f"maxpool_kernel_size {pool_size} must lie in 1..initial_crop_size ({crop_size})"
            )
        self.head = head
        self.crop_size = crop_size
        self.pool_size = pool_size
        self.pool_stride = pool_stride
        self.built = True

    def crop(self, features: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Return crops [B * P, c, c, C] of features [B, fh, fw, C] at boxes [B, P, 4]."""
        size = (self.crop_size, self.crop_size)
        return roi.crop_and_max_pool(features, boxes, size, self.pool_size, self.pool_stride)

    def read(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> CropRegions:
        """Return the crops and features for this stage and the auxiliary heads.

        Args:
            features: [B, fh, fw, C].
            boxes: proposals [B, P, 4], relative to the feature map (0..1 of the padded inputs).
            training: whether stage 2 runs as in training.
        """
        crops = self.crop(features, boxes)
        stage2 = functools.partial(apply_stage2, self.head.stage2, training=training)
        return CropRegions(
            boxes=boxes,
            crops=crops,
            classifier_features=stage2(crops),
            crop=functools.partial(self.crop, features),
            stage2=stage2,
        )

    def predict(self, regions: CropRegions, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Return refined box encodings [B, P, K or 1, 4] and class logits [B, P, K + 1]."""
        boxes = regions.boxes
        predictor = self.head.predictor
        encodings, logits = predictor(regions.features_for(predictor), training=training)
        batch, proposals = tf.shape(boxes)[0], boxes.shape[1] or tf.shape(boxes)[1]
        return {
            Predictions.refined_box_encodings: tf.reshape(
                encodings, [batch, proposals, encodings.shape[1], 4]
            ),
            Predictions.class_predictions: tf.reshape(logits, [batch, proposals, logits.shape[-1]]),
        }

    def call(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Apply `read`, then `predict`."""
        return self.predict(self.read(features, boxes, training), training)
