"""Allowed values of single config fields, by message and field.

Conditions on several fields are in `validation`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from object_detection_mtl.config.errors import listing


class Rule(NamedTuple):
    """A condition on one value and its description, which completes "must be ..."."""

    holds: Callable[[Any], bool]
    words: str


def _at_least(low: float) -> Rule:
    return Rule(lambda value: value >= low, f"at least {low}")


def _one_of(*values: object) -> Rule:
    shown = listing('""' if value == "" else value for value in values)
    return Rule(lambda value: value in values, f"one of {shown}")


_POSITIVE = Rule(lambda value: value > 0, "greater than 0")
_FRACTION = Rule(lambda value: 0 <= value <= 1, "in [0, 1]")
_KEPT = Rule(lambda value: 0 < value <= 1, "greater than 0 and at most 1")
_BELOW_ONE = Rule(lambda value: 0 <= value < 1, "in [0, 1)")
_COUNT = _at_least(1)
_NOT_NEGATIVE = _at_least(0)
_FROZEN_BLOCKS = Rule(
    lambda value: not value or value[-1] in "01234", 'empty, or "block1" ... "block4"'
)
_FALSE_ONE_LABEL = Rule(lambda value: not value, "false: every box has one class")


def _absent(what: str) -> Rule:
    """Return the rule of a message that changes the model in the OD API and is unsupported."""
    return Rule(lambda value: not value or not value.ListFields(), f"absent: {what}")


_ALL_POSITIVE = Rule(lambda value: all(item > 0 for item in value), "greater than 0 each")

RULES: dict[str, Rule] = {
    "GraphRewriter.quantization": _absent("quantization is unsupported"),
    "FasterRcnn.context_config": _absent("Context R-CNN is unsupported"),
    "PostProcessing.calibration_config": _absent("scores are not calibrated"),
    "FasterRcnn.num_classes": _COUNT,
    "FasterRcnn.number_of_stages": Rule(
        lambda value: value in (1, 2), "1 (proposals only) or 2: masks (3) are not supported"
    ),
    "FasterRcnn.first_stage_atrous_rate": _COUNT,
    "FasterRcnn.first_stage_box_predictor_kernel_size": _COUNT,
    "FasterRcnn.first_stage_box_predictor_depth": _COUNT,
    "FasterRcnn.first_stage_minibatch_size": _COUNT,
    "FasterRcnn.first_stage_positive_balance_fraction": _FRACTION,
    "FasterRcnn.first_stage_nms_score_threshold": _FRACTION,
    "FasterRcnn.first_stage_nms_iou_threshold": _FRACTION,
    "FasterRcnn.first_stage_max_proposals": _COUNT,
    "FasterRcnn.first_stage_localization_loss_weight": _NOT_NEGATIVE,
    "FasterRcnn.first_stage_objectness_loss_weight": _NOT_NEGATIVE,
    "FasterRcnn.first_stage_localization_sigma": _POSITIVE,
    "FasterRcnn.initial_crop_size": _COUNT,
    "FasterRcnn.maxpool_kernel_size": _COUNT,
    "FasterRcnn.maxpool_stride": _COUNT,
    "FasterRcnn.second_stage_batch_size": _COUNT,
    "FasterRcnn.second_stage_balance_fraction": _FRACTION,
    "FasterRcnn.second_stage_localization_loss_weight": _NOT_NEGATIVE,
    "FasterRcnn.second_stage_classification_loss_weight": _NOT_NEGATIVE,
    "FasterRcnnFeatureExtractor.conv_depth_ratio_in_percentage": _one_of(25, 50, 75, 100),
    "FasterRcnnFeatureExtractor.depth_multiplier": _POSITIVE,
    "FasterRcnnFeatureExtractor.first_stage_features_stride": _one_of(8, 16),
    "FasterRcnnFeatureExtractor.freeze_layer": _FROZEN_BLOCKS,
    "FasterRcnnFeatureExtractor.min_depth": _COUNT,
    "FasterRcnnFeatureExtractor.weight_decay": _NOT_NEGATIVE,
    "KeepAspectRatioResizer.min_dimension": _COUNT,
    "KeepAspectRatioResizer.max_dimension": _COUNT,
    "KeepAspectRatioResizer.per_channel_pad_value": Rule(
        lambda value: len(value) == 3, "3 numbers, one per channel"
    ),
    "FixedShapeResizer.height": _COUNT,
    "FixedShapeResizer.width": _COUNT,
    "GridAnchorGenerator.height": _COUNT,
    "GridAnchorGenerator.width": _COUNT,
    "GridAnchorGenerator.height_stride": _COUNT,
    "GridAnchorGenerator.width_stride": _COUNT,
    "GridAnchorGenerator.scales": _ALL_POSITIVE,
    "GridAnchorGenerator.aspect_ratios": _ALL_POSITIVE,
    "MaskRCNNBoxPredictor.dropout_keep_probability": _KEPT,
    "MaskRCNNBoxPredictor.box_code_size": _one_of(4),
    "MaskRCNNBoxPredictor.predict_instance_masks": Rule(
        lambda value: not value, "false: masks are not supported"
    ),
    "MaskRCNNBoxPredictor.predict_keypoints": Rule(
        lambda value: not value, "false: keypoints are not supported"
    ),
    "MaskRCNNBoxPredictor.num_layers_before_predictor": _NOT_NEGATIVE,
    "MaskRCNNBoxPredictor.min_depth": _NOT_NEGATIVE,
    "MaskRCNNBoxPredictor.max_depth": _NOT_NEGATIVE,
    "RfcnBoxPredictor.box_code_size": _one_of(4),
    "RfcnBoxPredictor.num_spatial_bins_height": _COUNT,
    "RfcnBoxPredictor.num_spatial_bins_width": _COUNT,
    "RfcnBoxPredictor.crop_height": _COUNT,
    "RfcnBoxPredictor.crop_width": _COUNT,
    "RfcnBoxPredictor.depth": _COUNT,
    "BatchNonMaxSuppression.score_threshold": _FRACTION,
    "BatchNonMaxSuppression.iou_threshold": _FRACTION,
    "BatchNonMaxSuppression.max_detections_per_class": _COUNT,
    "BatchNonMaxSuppression.max_total_detections": _COUNT,
    "BatchNonMaxSuppression.max_classes_per_detection": _COUNT,
    "BatchNonMaxSuppression.soft_nms_sigma": _NOT_NEGATIVE,
    "SigmoidFocalClassificationLoss.gamma": _NOT_NEGATIVE,
    "SigmoidFocalClassificationLoss.alpha": _FRACTION,
    "WeightedSoftmaxClassificationLoss.logit_scale": _POSITIVE,
    "HardExampleMiner.num_hard_examples": _NOT_NEGATIVE,
    "HardExampleMiner.iou_threshold": _FRACTION,
    "HardExampleMiner.max_negatives_per_positive": _NOT_NEGATIVE,
    "HardExampleMiner.min_negatives_per_image": _NOT_NEGATIVE,
    "PostProcessing.logit_scale": _POSITIVE,
    "L1Regularizer.weight": _NOT_NEGATIVE,
    "L2Regularizer.weight": _NOT_NEGATIVE,
    "TruncatedNormalInitializer.stddev": _NOT_NEGATIVE,
    "RandomNormalInitializer.stddev": _NOT_NEGATIVE,
    "VarianceScalingInitializer.factor": _POSITIVE,
    "BatchNorm.decay": _FRACTION,
    "BatchNorm.epsilon": _POSITIVE,
    "MTL.shared_feature": _one_of("proposal_feature_maps", "classifier_feature_maps"),
    "MTL.refine_num_fc_layers": _NOT_NEGATIVE,
    "MTL.refine_dropout_rate": _KEPT,
    "MTL.window_class_loss_weight": _NOT_NEGATIVE,
    "MTL.closeness_loss_weight": _NOT_NEGATIVE,
    "MTL.edgemask_loss_weight": _NOT_NEGATIVE,
    "MTL.refined_classification_loss_weight": _NOT_NEGATIVE,
    "MTL.num_windows": _COUNT,
    "MTL.edgemask_size": _COUNT,
    "MTL.refine_chunk_size": _NOT_NEGATIVE,
    "MTL.refine_top_k": _NOT_NEGATIVE,
    "MTL.refine_windows": Rule(
        lambda value: sorted({*value} & {*range(5)}) == list(value),
        "ascending numbers from 0, the proposal, to 4, the image",
    ),
    "MTL.refine_learning_rate_multiplier": _POSITIVE,
    "MTL.refine_main_logits_dropout": _BELOW_ONE,
    "MaskPredictor.kernel_size": _COUNT,
    "TrainConfig.batch_size": _COUNT,
    "TrainConfig.num_micro_batches": _COUNT,
    "TrainConfig.gradient_clipping_by_norm": _NOT_NEGATIVE,
    "TrainConfig.max_number_of_boxes": _COUNT,
    "TrainConfig.merge_multiple_label_boxes": _FALSE_ONE_LABEL,
    "TrainConfig.use_multiclass_scores": _FALSE_ONE_LABEL,
    "TrainConfig.fine_tune_checkpoint_type": _one_of("", "classification", "detection", "full"),
    "MomentumOptimizer.momentum_optimizer_value": _BELOW_ONE,
    "RMSPropOptimizer.momentum_optimizer_value": _BELOW_ONE,
    "RMSPropOptimizer.decay": _BELOW_ONE,
    "RMSPropOptimizer.epsilon": _POSITIVE,
    "AdamOptimizer.epsilon": _POSITIVE,
    "AdamOptimizer.beta1": _BELOW_ONE,
    "AdamOptimizer.beta2": _BELOW_ONE,
    "Optimizer.moving_average_decay": _FRACTION,
    "ConstantLearningRate.learning_rate": _NOT_NEGATIVE,
    "ExponentialDecayLearningRate.initial_learning_rate": _NOT_NEGATIVE,
    "ExponentialDecayLearningRate.decay_steps": _COUNT,
    "ExponentialDecayLearningRate.decay_factor": _KEPT,
    "ExponentialDecayLearningRate.burnin_learning_rate": _NOT_NEGATIVE,
    "ExponentialDecayLearningRate.min_learning_rate": _NOT_NEGATIVE,
    "ManualStepLearningRate.initial_learning_rate": _NOT_NEGATIVE,
    "ManualStepLearningRate.LearningRateSchedule.learning_rate": _NOT_NEGATIVE,
    "CosineDecayLearningRate.learning_rate_base": _NOT_NEGATIVE,
    "CosineDecayLearningRate.warmup_learning_rate": _NOT_NEGATIVE,
    "CosineDecayLearningRate.total_steps": _COUNT,
    "RandomHorizontalFlip.probability": _FRACTION,
    "EvalConfig.batch_size": _COUNT,
    "EvalConfig.min_score_threshold": _FRACTION,
    "InputReader.expand_labels_hierarchy": Rule(
        lambda value: not value,
        "false: hierarchies of classes are unsupported. Expand the labels of the records",
    ),
    "InputReader.input_type": Rule(
        lambda value: value in (0, 1),
        "TF_EXAMPLE: records of tf.SequenceExample are unsupported",
    ),
    "InputReader.num_additional_channels": Rule(
        lambda value: value == 0, "0: images have three channels"
    ),
    "InputReader.sample_1_of_n_examples": _COUNT,
    "InputReader.num_readers": _COUNT,
    "InputReader.shuffle_buffer_size": _COUNT,
    "InputReader.max_number_of_boxes": _COUNT,
    "InputReader.max_image_pixels": _COUNT,
    "InputReader.max_boxes_per_example": _COUNT,
}
