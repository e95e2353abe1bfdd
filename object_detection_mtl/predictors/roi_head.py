"""Second-stage heads on RoI crops (Faster R-CNN).

Shape letters: B batch, P proposals, N RoIs (B * P), h w C a crop, h' w' C' the output of stage 2, M
other boxes of an image, K classes without background.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor, mean_of_cells
from object_detection_mtl.predictors.region_head import (
    AuxiliaryRegionHead,
    MainRegionHead,
    apply_stage2,
)


class RoiHead(MainRegionHead):
    """Crops [N, h, w, C] -> (box encodings [N, K or 1, 4] or None, class logits [N, K + 1])."""

    def call(
        self, crops: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Return box encodings and class logits."""
        return self.predictor(apply_stage2(self.stage2, crops, training), training=training)


@dataclass(frozen=True)
class CropRegions:
    """Crops and features of the second stage, which auxiliary heads reuse.

    Attributes:
        boxes: proposals [B, P, 4], relative to the feature map.
        crops: crops of the proposals, [B * P, h, w, C].
        classifier_features: the main stage 2 of the crops, [B * P, h', w', C'].
        crop: other boxes [B, M, 4] of the map -> crops [B * M, h, w, C].
        stage2: the main stage 2, crops -> features.
    """

    boxes: tf.Tensor
    crops: tf.Tensor
    classifier_features: tf.Tensor
    crop: Callable[[tf.Tensor], tf.Tensor]
    stage2: Callable[[tf.Tensor], tf.Tensor]

    def features_for(self, predictor: MaskRcnnBoxPredictor) -> tf.Tensor:
        """Return the classifier features, or their mean [B * P, C'] if that is all it reads."""
        return self._mean if predictor.reads_mean else self.classifier_features

    @functools.cached_property
    def _mean(self) -> tf.Tensor:
        return mean_of_cells(self.classifier_features)


class CropRegionHead(AuxiliaryRegionHead):
    """Class logits of regions from crops, by a stage 2 of its own or by the main one."""

    def read(self, regions: CropRegions, *, training: bool) -> CropReader:
        """Return a reader of the regions of one batch."""
        return CropReader(self, regions, training)


@dataclass(frozen=True)
class CropReader:
    """A `CropRegionHead` with the regions of one batch."""

    head: CropRegionHead
    regions: CropRegions
    training: bool

    def proposals(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Return the logits of proposals [B, P, K + 1], from crops or features of the second stage.

        Args:
            rows: [B, R] int32, proposals to classify: [B, R, K + 1]. None is all.
        """
        read = self.regions.crops
        if self.head.stage2 is None:
            read = self.regions.features_for(self.head.predictor)
        boxes = self.regions.boxes
        if rows is not None:
            shape = read.shape[1:]
            read = tf.reshape(read, [*tf.unstack(tf.shape(boxes)[:2]), *shape])
            read = tf.reshape(tf.gather(read, rows, batch_dims=1), [-1, *shape])
            boxes = tf.gather(boxes, rows, batch_dims=1)
        return self._logits(read, boxes)

    def at(self, boxes: tf.Tensor) -> tf.Tensor:
        """Return the logits [B, M, K + 1] of boxes [B, M, 4] of the map."""
        crops = self.regions.crop(boxes)
        read = crops
        if self.head.stage2 is None:
            read = self.head.apply(self.regions.stage2, crops, training=self.training)
        return self._logits(read, boxes)

    def _logits(self, read: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        if self.head.stop_gradient:
            read = tf.stop_gradient(read)
        if self.head.stage2 is not None:
            read = self.head.apply_own(read, training=self.training)
        _, logits = self.head.predictor(read, training=self.training)
        batch, number = boxes.shape[0] or tf.shape(boxes)[0], boxes.shape[1] or tf.shape(boxes)[1]
        return tf.reshape(logits, [batch, number, logits.shape[-1]])
