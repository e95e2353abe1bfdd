"""Second-stage heads on the whole feature map (R-FCN).

Shape letters: B batch, P proposals, fh fw C the shared feature map, h' w' C' the output of stage 2,
M other boxes of an image, K classes without background. Boxes are relative to the map, so stage 2
may halve it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf

from object_detection_mtl.ops.position_sensitive import BinWeights
from object_detection_mtl.predictors.region_head import (
    AuxiliaryRegionHead,
    MainRegionHead,
    apply_stage2,
)

# Of crop size and number of bins.
MakeBinWeights: TypeAlias = Callable[[tuple[int, int], tuple[int, int]], BinWeights]


class MapHead(MainRegionHead):
    """[B, fh, fw, C], boxes [B, P, 4] -> box encodings [B, P, K, 4], class logits [B, P, K + 1]."""

    def call(
        self, features: tf.Tensor, boxes: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Return box encodings and class logits."""
        read = apply_stage2(self.stage2, features, training)
        return self.predictor(read, boxes, training=training)


@dataclass(frozen=True)
class MapRegions:
    """Second-stage features, which auxiliary heads reuse.

    Attributes:
        boxes: proposals [B, P, 4].
        features: the shared map [B, fh, fw, C].
        classifier_features: the main stage 2 of it, [B, h', w', C'].
        bin_weights: crop size and number of bins -> `position_sensitive.bin_weights` of the
            proposals, made once for all heads with the same.
    """

    boxes: tf.Tensor
    features: tf.Tensor
    classifier_features: tf.Tensor
    bin_weights: MakeBinWeights


class MapRegionHead(AuxiliaryRegionHead):
    """Class logits of regions from score maps, by a stage 2 of its own or after the main one."""

    def read(self, regions: MapRegions, *, training: bool) -> MapReader:
        """Return a reader of the score maps, which are computed once for all boxes."""
        read = regions.classifier_features if self.stage2 is None else regions.features
        if self.stop_gradient:
            read = tf.stop_gradient(read)
        if self.stage2 is not None:
            read = self.apply_own(read, training=training)
        return MapReader(self.predictor.score_maps(read), regions, self.predictor)


@dataclass(frozen=True)
class MapReader:
    """Score maps of one batch.

    Attributes:
        maps: [B, h', w', bins * (K + 1)].
        regions: regions of the second stage.
        predictor: `RfcnBoxPredictor`, which made the maps.
    """

    maps: tf.Tensor
    regions: MapRegions
    predictor: Any

    def proposals(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Return the logits of proposals [B, P, K + 1]; the bins are those of the second stage.

        Args:
            rows: [B, R] int32, proposals to classify: [B, R, K + 1]. None is all.
        """
        boxes = self.regions.boxes
        weights = self.regions.bin_weights(self.predictor.crop_size, self.predictor.num_bins)
        if rows is not None:
            boxes = tf.gather(boxes, rows, batch_dims=1)
            weights = weights.gather(rows)
        return self.predictor.pool(self.maps, boxes, weights)

    def at(self, boxes: tf.Tensor) -> tf.Tensor:
        """Return the logits [B, M, K + 1] of boxes [B, M, 4] of the map."""
        return self.predictor.pool(self.maps, boxes)
