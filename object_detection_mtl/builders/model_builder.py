"""`DetectionModel` -> a detector."""

from __future__ import annotations

import keras

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.builders import (
    anchor_generator_builder,
    backbone_builder,
    hyperparams_builder,
    image_resizer_builder,
    losses_builder,
    mtl_builder,
    post_processing_builder,
    second_stage_builder,
)
from object_detection_mtl.fields import Losses
from object_detection_mtl.models import rpn
from object_detection_mtl.models.proposals import ProposalSampling, ProposalSelection
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.mtl.auxiliary_task import AuxiliaryTask
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.protos import faster_rcnn_pb2, model_pb2


def build(model_config: model_pb2.DetectionModel, is_training: bool = False) -> TwoStageDetector:
    """Return the detector of a resolved config (`config.pipeline.load`).

    All variables exist when this returns.

    Args:
        model_config: its `model` message.
        is_training: default of the argument `training` of the detector's `predict` and `loss`.

    Raises:
        ValueError: a meta-architecture or part that is not supported.
    """
    kind = model_config.WhichOneof("model")
    if kind != "faster_rcnn":
        raise ValueError(f"model {{ {kind or ''} }} is not supported; use faster_rcnn")
    config = model_config.faster_rcnn
    backbone = backbone_builder.build(config.feature_extractor)
    second_stage, aux_tasks, refiner = _after_proposals(model_config, backbone)
    return TwoStageDetector(
        num_classes=config.num_classes,
        image_resizer=image_resizer_builder.build(config.image_resizer),
        backbone=backbone,
        region_proposals=_region_proposals(config, backbone.stage1.output_shape[-1]),
        second_stage=second_stage,
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
        loss_weights=_loss_weights(config),
        is_training=is_training,
        aux_tasks=aux_tasks,
        refiner=refiner,
        # Only training reads it.
        loss_balance=(
            mtl_builder.build_loss_balance(model_config.mtl, aux_tasks, refiner)
            if is_training
            else None
        ),
        hard_example_miner=losses_builder.hard_example_miner(config),
        clip_anchors=config.clip_anchors_to_image,
    )


def _after_proposals(
    model_config: model_pb2.DetectionModel, backbone: Backbone
) -> tuple[keras.layers.Layer | None, tuple[AuxiliaryTask, ...], Refiner | None]:
    """Return second stage, auxiliary tasks and refiner; none for a one-stage config."""
    config, mtl = model_config.faster_rcnn, model_config.mtl
    if config.number_of_stages == 1:
        switched_on = [*mtl_builder.enabled_tasks(mtl), *(["refine"] if mtl.refine else [])]
        if switched_on:
            raise ValueError(
                f"mtl: {', '.join(switched_on)} need a second stage, but number_of_stages is 1"
            )
        return None, (), None
    second_stage = second_stage_builder.build(config, backbone)
    region_heads = second_stage_builder.RegionHeads(config, backbone, second_stage.head.stage2)
    in_channels = backbone.stage1.output_shape[-1]
    return second_stage, *mtl_builder.build(mtl, region_heads, in_channels)


def _loss_weights(config: faster_rcnn_pb2.FasterRcnn) -> dict[str, float]:
    weights = {
        Losses.rpn_localization: config.first_stage_localization_loss_weight,
        Losses.rpn_objectness: config.first_stage_objectness_loss_weight,
    }
    if config.number_of_stages > 1:
        weights[Losses.box_localization] = config.second_stage_localization_loss_weight
        weights[Losses.box_classification] = config.second_stage_classification_loss_weight
    return weights


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
