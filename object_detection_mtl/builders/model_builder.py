"""`DetectionModel` -> a detector, from finished parts."""

from __future__ import annotations

import keras

from object_detection_mtl.builders import (
    anchor_generator_builder,
    backbone_builder,
    hyperparams_builder,
    image_resizer_builder,
    losses_builder,
    post_processing_builder,
)
from object_detection_mtl.fields import Losses
from object_detection_mtl.models import rpn
from object_detection_mtl.models.box_classifier import ProposalSampling
from object_detection_mtl.models.faster_rcnn import CropSecondStage
from object_detection_mtl.models.postprocess import ProposalSelection
from object_detection_mtl.models.rfcn import MapSecondStage
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.predictors.map_head import MapHead
from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.rfcn import RfcnBoxPredictor
from object_detection_mtl.predictors.roi_head import RoiHead
from object_detection_mtl.protos import faster_rcnn_pb2, model_pb2


def build(model_config: model_pb2.DetectionModel, is_training: bool) -> TwoStageDetector:
    """The detector that a resolved config (`config.pipeline.load`) describes.

    All variables exist when this returns.

    Args:
        model_config: its `model` message.
        is_training: build for `loss` (samples proposals) or for detecting.

    Raises:
        ValueError: a meta-architecture or part that is not supported.
    """
    kind = model_config.WhichOneof("model")
    if kind != "faster_rcnn":
        raise ValueError(f"model {{ {kind or ''} }} is not supported; use faster_rcnn")
    config = model_config.faster_rcnn
    backbone = backbone_builder.build(config.feature_extractor)
    return TwoStageDetector(
        num_classes=config.num_classes,
        image_resizer=image_resizer_builder.build(config.image_resizer),
        backbone=backbone,
        region_proposals=_region_proposals(config, backbone.stage1.output_shape[-1]),
        second_stage=_second_stage(config, backbone),
        proposal_selection=ProposalSelection(
            max_proposals=config.first_stage_max_proposals,
            score_threshold=config.first_stage_nms_score_threshold,
            iou_threshold=config.first_stage_nms_iou_threshold,
            clip_before_nms=config.clip_before_nms,
        ),
        proposal_sampling=ProposalSampling(
            batch_size=config.second_stage_batch_size,
            positive_fraction=config.second_stage_balance_fraction,
        ),
        detection_selection=post_processing_builder.build(
            config.second_stage_post_processing, clip_before_nms=config.clip_before_nms
        ),
        classification_loss=losses_builder.classification_loss(
            config.second_stage_classification_loss
        ),
        loss_weights={
            Losses.rpn_localization: config.first_stage_localization_loss_weight,
            Losses.rpn_objectness: config.first_stage_objectness_loss_weight,
            Losses.box_localization: config.second_stage_localization_loss_weight,
            Losses.box_classification: config.second_stage_classification_loss_weight,
        },
        is_training=is_training,
    )


def _region_proposals(
    config: faster_rcnn_pb2.FasterRcnn, in_channels: int
) -> rpn.RegionProposalNetwork:
    return rpn.RegionProposalNetwork(
        anchor_generator=anchor_generator_builder.build(config.first_stage_anchor_generator),
        in_channels=in_channels,
        depth=config.first_stage_box_predictor_depth,
        kernel_size=config.first_stage_box_predictor_kernel_size,
        atrous_rate=config.first_stage_atrous_rate,
        activation=hyperparams_builder.ACTIVATIONS[config.first_stage_activation],
        hyperparams=hyperparams_builder.build(config.first_stage_box_predictor_conv_hyperparams),
        sampling=rpn.RpnSampling(
            minibatch_size=config.first_stage_minibatch_size,
            positive_fraction=config.first_stage_positive_balance_fraction,
            localization_sigma=config.first_stage_localization_sigma,
        ),
        trainable=config.first_stage_box_predictor_trainable,
    )


def _second_stage(
    config: faster_rcnn_pb2.FasterRcnn, backbone: backbone_builder.Backbone
) -> CropSecondStage | MapSecondStage:
    stage2 = backbone.make_stage2("stage2")
    kind = config.second_stage_box_predictor.WhichOneof("box_predictor_oneof")
    if kind == "rfcn_box_predictor":
        return MapSecondStage(MapHead(stage2, _map_predictor(stage2, config)))
    if kind == "mask_rcnn_box_predictor":
        return CropSecondStage(
            RoiHead(stage2, _crop_predictor(stage2, config)),
            crop_size=config.initial_crop_size,
            pool_size=config.maxpool_kernel_size,
            pool_stride=config.maxpool_stride,
        )
    raise ValueError(
        f"second_stage_box_predictor {{ {kind or ''} }} is not supported; "
        "use mask_rcnn_box_predictor (Faster R-CNN) or rfcn_box_predictor (R-FCN)"
    )


def _map_predictor(stage2: keras.Model, detector: faster_rcnn_pb2.FasterRcnn) -> RfcnBoxPredictor:
    config = detector.second_stage_box_predictor
    chosen = config.rfcn_box_predictor
    return RfcnBoxPredictor(
        in_channels=stage2.output_shape[-1],
        num_classes=detector.num_classes,
        hyperparams=hyperparams_builder.build(chosen.conv_hyperparams),
        depth=chosen.depth,
        num_bins=(chosen.num_spatial_bins_height, chosen.num_spatial_bins_width),
        crop_size=(chosen.crop_height, chosen.crop_width),
        trainable=config.trainable,
    )


def _crop_predictor(
    stage2: keras.Model, detector: faster_rcnn_pb2.FasterRcnn
) -> MaskRcnnBoxPredictor:
    config = detector.second_stage_box_predictor
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
        trainable=config.trainable,
    )


def _stage2_size(stage2: keras.Model, config: faster_rcnn_pb2.FasterRcnn) -> tuple[int, int]:
    """Height and width that stage 2 makes of a pooled crop."""
    side = (config.initial_crop_size - config.maxpool_kernel_size) // config.maxpool_stride + 1
    shape = stage2.compute_output_shape((None, side, side, stage2.input_shape[-1]))
    return shape[1], shape[2]
