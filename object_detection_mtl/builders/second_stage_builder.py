"""`FasterRcnn` -> the second stage and heads of auxiliary tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.registry import BACKBONES
from object_detection_mtl.builders import hyperparams_builder
from object_detection_mtl.models.faster_rcnn import CropSecondStage
from object_detection_mtl.models.rfcn import MapSecondStage
from object_detection_mtl.mtl.auxiliary_task import RegionHead
from object_detection_mtl.predictors.map_head import MapHead, MapRegionHead
from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.rfcn import RfcnBoxPredictor
from object_detection_mtl.predictors.roi_head import CropRegionHead, RoiHead
from object_detection_mtl.protos import box_predictor_pb2, faster_rcnn_pb2

CROPS, MAPS = "mask_rcnn_box_predictor", "rfcn_box_predictor"


def build(
    config: faster_rcnn_pb2.FasterRcnn, backbone: Backbone
) -> CropSecondStage | MapSecondStage:
    """Return the second stage of Faster R-CNN or R-FCN, selected by the box predictor.

    Raises:
        ValueError: another box predictor, or an option of it that is not supported.
    """
    stage2 = backbone.make_stage2("stage2")
    predictor = config.second_stage_box_predictor
    kind = predictor.WhichOneof("box_predictor_oneof")
    if kind == MAPS:
        head = MapHead(stage2, _map_predictor(predictor, stage2, config))
        smallest_map = BACKBONES[config.feature_extractor.type].smallest_crop
        return MapSecondStage(head, smallest_map=smallest_map)
    if kind == CROPS:
        return CropSecondStage(
            RoiHead(stage2, _crop_predictor(predictor, stage2, config)),
            crop_size=config.initial_crop_size,
            pool_size=config.maxpool_kernel_size,
            pool_stride=config.maxpool_stride,
        )
    raise ValueError(
        f"second_stage_box_predictor {{ {kind or ''} }} is not supported; "
        f"use {CROPS} (Faster R-CNN) or {MAPS} (R-FCN)"
    )


@dataclass(frozen=True)
class RegionHeads:
    """Builder of heads without boxes, of the same kind as the detector's second stage.

    Attributes:
        config: config of the detector.
        backbone: source of the copies of stage 2.
        stage2: the main stage-2 block.
    """

    config: faster_rcnn_pb2.FasterRcnn
    backbone: Backbone
    stage2: keras.Model

    def make(
        self,
        predictor: box_predictor_pb2.BoxPredictor,
        name: str,
        *,
        owns_stage2: bool,
        stop_gradient: bool,
        recompute: bool,
    ) -> RegionHead:
        """Return a head with K + 1 class logits.

        Args:
            predictor: its config; an empty one means the second stage's.
            name: scope of its variables.
            owns_stage2: whether it has a copy of the stage-2 block or reads the main one.
            stop_gradient: whether its loss leaves the shared features alone.
            recompute: whether its stage 2 is computed again for the gradients.

        Raises:
            ValueError: the predictor is of another kind than the second stage's, or recomputation
                would update batch norm twice.
        """
        if recompute and self.config.feature_extractor.batch_norm_trainable:
            raise ValueError(
                "mtl.recompute_stage2 cannot be combined with "
                "feature_extractor.batch_norm_trainable, whose moving averages would be updated "
                "twice in a step. Set one of them to false"
            )
        main = self.config.second_stage_box_predictor
        wanted = main.WhichOneof("box_predictor_oneof")
        kind = predictor.WhichOneof("box_predictor_oneof")
        if kind is None:
            chosen = box_predictor_pb2.BoxPredictor()
            chosen.CopyFrom(main)
            chosen.MergeFrom(predictor)  # its `trainable`, if it is written
            predictor = chosen
        elif kind != wanted:
            raise ValueError(
                f"mtl: the predictor of {name} is a {kind}, but that of the second stage a "
                f"{wanted}; both must be of one kind"
            )
        stage2 = self.backbone.make_stage2(name) if owns_stage2 else None
        options: dict[str, Any] = {
            "stage2": stage2,
            "backbone_scope": self.backbone.scope,
            "stop_gradient": stop_gradient,
            "recompute": recompute,
        }
        if wanted == MAPS:
            maps = _map_predictor(predictor, self.stage2, self.config, name)
            return MapRegionHead(maps, **options)
        crops = _crop_predictor(predictor, self.stage2, self.config, name)
        return CropRegionHead(crops, **options)


def _map_predictor(
    config: box_predictor_pb2.BoxPredictor,
    stage2: keras.Model,
    detector: faster_rcnn_pb2.FasterRcnn,
    auxiliary_name: str = "",
) -> RfcnBoxPredictor:
    chosen = config.rfcn_box_predictor
    return RfcnBoxPredictor(
        in_channels=stage2.output_shape[-1],
        num_classes=detector.num_classes,
        hyperparams=hyperparams_builder.build(chosen.conv_hyperparams),
        depth=chosen.depth,
        num_bins=(chosen.num_spatial_bins_height, chosen.num_spatial_bins_width),
        crop_size=(chosen.crop_height, chosen.crop_width),
        predict_boxes=not auxiliary_name,
        trainable=config.trainable,
        name=auxiliary_name or "SecondStageBoxPredictor",
    )


def _crop_predictor(
    config: box_predictor_pb2.BoxPredictor,
    stage2: keras.Model,
    detector: faster_rcnn_pb2.FasterRcnn,
    auxiliary_name: str = "",
) -> MaskRcnnBoxPredictor:
    chosen = config.mask_rcnn_box_predictor
    if chosen.predict_instance_masks or chosen.predict_keypoints:
        raise ValueError(
            "mask_rcnn_box_predictor: predict_instance_masks and predict_keypoints are not "
            "supported; this package predicts boxes"
        )
    channels = stage2.output_shape[-1]
    return MaskRcnnBoxPredictor(
        in_channels=channels,
        num_classes=detector.num_classes,
        hyperparams=hyperparams_builder.build(chosen.fc_hyperparams),
        spatial_size=None if chosen.spatial_average else _stage2_size(stage2, detector),
        hidden_layers=chosen.num_layers_before_predictor,
        hidden_depth=max(min(channels, chosen.max_depth), chosen.min_depth),
        share_box_across_classes=chosen.share_box_across_classes,
        dropout_keep_probability=chosen.dropout_keep_probability if chosen.use_dropout else 1.0,
        predict_boxes=not auxiliary_name,
        trainable=config.trainable,
        name=auxiliary_name or "SecondStageBoxPredictor",
    )


def _stage2_size(stage2: keras.Model, config: faster_rcnn_pb2.FasterRcnn) -> tuple[int, int]:
    """Return the height and width of stage 2's output for a pooled crop."""
    side = (config.initial_crop_size - config.maxpool_kernel_size) // config.maxpool_stride + 1
    shape = stage2.compute_output_shape((None, side, side, stage2.input_shape[-1]))
    return shape[1], shape[2]
