"""Second stage of R-FCN: score maps, pooled for each proposal.

Shape letters: B batch, fh fw C shared feature map, P proposals, K classes without background.
"""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from object_detection_mtl.fields import Predictions
from object_detection_mtl.ops import position_sensitive
from object_detection_mtl.predictors.map_head import MapHead, MapRegions
from object_detection_mtl.predictors.region_head import apply_stage2


class MapSecondStage(keras.layers.Layer):
    """`MapHead` on the proposals; called like `faster_rcnn.CropSecondStage`."""

    def __init__(self, head: MapHead, *, smallest_map: int = 1, name: str = "second_stage") -> None:
        """Make the layer.

        Args:
            head: stage 2 and predictor.
            smallest_map: the least height and width of a feature map that stage 2 can take.
            name: name of the layer.
        """
        super().__init__(name=name)
        self.head = head
        self.smallest_map = smallest_map
        self.built = True

    def read(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> MapRegions:
        """Return the features for this stage and the auxiliary heads.

        Args:
            features: [B, fh, fw, C].
            boxes: proposals [B, P, 4], relative to the feature map (0..1 of the padded inputs).
            training: whether stage 2 runs as in training.
        """
        if self.smallest_map > 1:
            features = _at_least(features, self.smallest_map)
        read = apply_stage2(self.head.stage2, features, training)

        @functools.cache
        def bin_weights(
            crop_size: tuple[int, int], num_bins: tuple[int, int]
        ) -> position_sensitive.BinWeights:
            # Of the auxiliary heads' maps too: their stage 2 gives the same size.
            return position_sensitive.bin_weights(boxes, crop_size, num_bins, tf.shape(read))

        return MapRegions(boxes, features, read, bin_weights)

    def predict(self, regions: MapRegions, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Return refined box encodings [B, P, K, 4] and class logits [B, P, K + 1]."""
        predictor = self.head.predictor
        encodings, logits = predictor(
            regions.classifier_features,
            regions.boxes,
            bin_weights=regions.bin_weights(predictor.crop_size, predictor.num_bins),
            training=training,
        )
        return {
            Predictions.refined_box_encodings: encodings,
            Predictions.class_predictions: logits,
        }

    def call(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Apply `read`, then `predict`."""
        return self.predict(self.read(features, boxes, training), training)


def _at_least(features: tf.Tensor, side: int) -> tf.Tensor:
    """Return `features`; a map smaller than `side` is an error when the graph runs."""
    shape = tf.shape(features)
    check = tf.debugging.Assert(
        tf.reduce_all(shape[1:3] >= side),
        [
            f"the image is too small for this network: stage 2 of R-FCN needs a feature map of at "
            f"least {side}x{side}, raise the dimensions of the image_resizer; the map is",
            shape[1:3],
        ],
    )
    with tf.control_dependencies([check]):
        return tf.identity(features)
