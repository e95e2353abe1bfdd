"""Accepted but ignored config fields.

Configurations of the TF Object Detection API and of the authors' fork set fields that have no
meaning here: sizes of TensorFlow 1's queues, choices between implementations of the same result,
tasks that this package lacks. They are accepted and reported once. A field is removed from this
list when the package starts to read it.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable
from typing import Any

from object_detection_mtl.backbones.registry import BACKBONES, TYPE_FIELDS
from object_detection_mtl.config import proto_messages
from object_detection_mtl.config.task_fields import (
    NEEDED_FIELDS,
    TASK_FIELDS,
    TASKS_WITH_REGION_HEAD,
)
from object_detection_mtl.protos import faster_rcnn_pb2, model_pb2, pipeline_pb2

_logger = logging.getLogger(__name__)

_ANY = object()  # every value is harmless: the field repeats what its position implies

_QUEUES = "TensorFlow 1 input queues; tf.data sizes its own"
_SAME_RESULT = "chooses between implementations of the same result"
_NO_MASKS = "masks and keypoints are not predicted"
_REPLICAS = "TensorFlow 1 parameter servers; replicas are synchronous"
_BY_STEPS = "checkpoints and summaries are written by steps, see --checkpoint_every_n"
_NO_CONTEXT = "Context R-CNN is not supported"
_ONE_LABEL = "every box has one class"
_NOT_EXPORTED = "features are not part of the detections"
_NOT_DRAWN = "the drawing has a fixed style"

# By message and field: why it has no effect, and the values that are the same as no value.
IGNORED_FIELDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "DetectionModel.init_file": ("set train_config.fine_tune_checkpoint", ("",)),
    "FasterRcnn.first_stage_clip_window": ("proposals are always clipped", ()),
    "FasterRcnn.inplace_batchnorm_update": (_SAME_RESULT, (False,)),
    "FasterRcnn.output_final_box_features": (_NOT_EXPORTED, (False,)),
    "FasterRcnn.output_final_box_rpn_features": (_NOT_EXPORTED, (False,)),
    "FasterRcnn.resize_masks": (_NO_MASKS, ()),
    "FasterRcnn.return_raw_detections_during_predict": (
        "raw detections are always part of the detections",
        (False,),
    ),
    "FasterRcnn.second_stage_mask_prediction_loss_weight": (_NO_MASKS, ()),
    "FasterRcnn.use_combined_nms_in_first_stage": (_SAME_RESULT, (False,)),
    "FasterRcnn.use_matmul_crop_and_resize": (_SAME_RESULT, (False,)),
    "FasterRcnn.use_matmul_gather_in_matcher": (_SAME_RESULT, (False,)),
    "FasterRcnn.use_partitioned_nms_in_first_stage": (_SAME_RESULT, ()),
    "FasterRcnn.use_static_balanced_label_sampler": (_SAME_RESULT, (False,)),
    "FasterRcnn.use_static_shapes": (_SAME_RESULT, (False,)),
    "FasterRcnn.use_static_shapes_for_eval": (_SAME_RESULT, (False,)),
    "FasterRcnnFeatureExtractor.fpn": ("feature pyramids are not supported", ()),
    "FasterRcnnFeatureExtractor.pad_to_multiple": (
        "applies to feature pyramids, which are not supported",
        (),
    ),
    "BatchNorm.center": ("the backbone's batch normalization has an offset", (True,)),
    "BatchNorm.scale": ("the backbone's batch normalization has a factor", (True,)),
    "BatchNorm.train": ("set feature_extractor.batch_norm_trainable", ()),
    "GridAnchorGenerator.height_scales": ("applies with use_hw_scales only", ()),
    "GridAnchorGenerator.width_scales": ("applies with use_hw_scales only", ()),
    "Hyperparams.force_use_bias": ("layers of the heads always have a bias", ()),
    "Hyperparams.op": ("the position of the message determines the layer", (_ANY,)),
    "Hyperparams.regularize_depthwise": ("the heads have no depthwise layers", ()),
    "MaskRCNNBoxPredictor.box_initializer": ("set fc_hyperparams.initializer", ()),
    "MaskRCNNBoxPredictor.conv_hyperparams": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.convolve_then_upsample_masks": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.mask_height": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.mask_prediction_conv_depth": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.mask_prediction_num_conv_layers": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.mask_width": (_NO_MASKS, ()),
    "MaskRCNNBoxPredictor.masks_are_class_agnostic": (_NO_MASKS, ()),
    "SigmoidFocalClassificationLoss.anchorwise_output": (_SAME_RESULT, (_ANY,)),
    "WeightedSigmoidClassificationLoss.anchorwise_output": (_SAME_RESULT, (_ANY,)),
    "WeightedSoftmaxClassificationLoss.anchorwise_output": (_SAME_RESULT, (_ANY,)),
    "BatchNonMaxSuppression.change_coordinate_frame": (
        "detections are always normalized to the image",
        (True,),
    ),
    "BatchNonMaxSuppression.use_combined_nms": (_SAME_RESULT, (False,)),
    "BatchNonMaxSuppression.use_cpu_nms": (_SAME_RESULT, (False,)),
    "BatchNonMaxSuppression.use_hard_nms": (_SAME_RESULT, (False,)),
    "BatchNonMaxSuppression.use_partitioned_nms": (_SAME_RESULT, (False,)),
    "BatchNonMaxSuppression.use_static_shapes": (_SAME_RESULT, (False,)),
    "RandomHorizontalFlip.keypoint_flip_permutation": (_NO_MASKS, ()),
    "RandomRotation90.keypoint_rot_permutation": (_NO_MASKS, ()),
    "RandomVerticalFlip.keypoint_flip_permutation": (_NO_MASKS, ()),
    "TrainConfig.batch_queue_capacity": (_QUEUES, ()),
    "TrainConfig.fine_tune_checkpoint_version": (
        "the checkpoint format is detected from the file",
        (_ANY,),
    ),
    "TrainConfig.ignore_options": ("use the difficult and crowd flags of the annotations", ()),
    "TrainConfig.log_every_n_steps": (_BY_STEPS, ()),
    "TrainConfig.num_batch_queue_threads": (_QUEUES, ()),
    "TrainConfig.prefetch_queue_capacity": (_QUEUES, ()),
    "TrainConfig.replicas_to_aggregate": (_REPLICAS, (1,)),
    "TrainConfig.retain_original_images": ("training does not keep original images", (False,)),
    "TrainConfig.run_fine_tune_checkpoint_dummy_computation": (
        "variables are built before a checkpoint is read",
        (_ANY,),
    ),
    "TrainConfig.save_interval_secs": (_BY_STEPS, ()),
    "TrainConfig.save_summaries_secs": (_BY_STEPS, ()),
    "TrainConfig.show_image_summary": (_NOT_DRAWN, (False,)),
    "TrainConfig.startup_delay_steps": (_REPLICAS, ()),
    "TrainConfig.summarize_gradients": ("gradients are not summarized", (False,)),
    "TrainConfig.sync_replicas": (_REPLICAS, (_ANY,)),
    "TrainConfig.unpad_groundtruth_tensors": ("padding is always masked", (_ANY,)),
    "EvalConfig.calc_loss": ("losses are always evaluated", (True,)),
    "EvalConfig.coco_eval_options": ("all twelve COCO numbers are reported", ()),
    "EvalConfig.eval_instance_masks": (_NO_MASKS, (False,)),
    "EvalConfig.eval_master": (_REPLICAS, ("",)),
    "EvalConfig.export_path": ("detections are not exported", ("",)),
    "EvalConfig.force_no_resize": ("images are resized as in training", (False,)),
    "EvalConfig.groundtruth_box_visualization_color": (_NOT_DRAWN, ()),
    "EvalConfig.ignore_groundtruth": ("ground truth is always read", (False,)),
    "EvalConfig.image_classes_field_map_empty_to_ones": (_ONE_LABEL, ()),
    "EvalConfig.iou_threshold": ("the metrics have their own", (0.5,)),
    "EvalConfig.keep_image_id_for_visualization_export": (_NOT_DRAWN, (False,)),
    "EvalConfig.keypoint_edge": (_NO_MASKS, ()),
    "EvalConfig.main_subset": ("all records are evaluated", ("",)),
    "EvalConfig.max_evals": ("set --eval_timeout", (0,)),
    "EvalConfig.nms_threshold": ("post-processing has its own", (1.0,)),
    "EvalConfig.nms_type": ("post-processing has its own", ("standard",)),
    "EvalConfig.num_examples": (
        "all examples are evaluated; sample_1_of_n_examples of the reader evaluates a part",
        (),
    ),
    "EvalConfig.parameterized_metric": (_NO_MASKS, ()),
    "EvalConfig.retain_original_image_additional_channels": (
        "images have three channels",
        (False,),
    ),
    "EvalConfig.save_graph": ("TensorFlow 2 has no graph to save", (False,)),
    "EvalConfig.skip_labels": (_NOT_DRAWN, (False,)),
    "EvalConfig.skip_predictions_for_unlabeled_class": (_ONE_LABEL, (False,)),
    "EvalConfig.skip_scores": (_NOT_DRAWN, (False,)),
    "EvalConfig.soft_nms_sigma": ("post-processing has its own", ()),
    "EvalConfig.submission_format_output": ("detections are not exported", (False,)),
    "EvalConfig.super_categories": ("categories have no groups", ()),
    "EvalConfig.use_dummy_loss_in_eval": ("losses are always evaluated", (False,)),
    "EvalConfig.visualization_export_dir": ("images are written to TensorBoard", ("",)),
    "EvalConfig.visualize_groundtruth_boxes": (_NOT_DRAWN, (False,)),
    "InputReader.drop_remainder": (
        "training has no last batch; evaluation keeps it",
        (_ANY,),
    ),
    "InputReader.filenames_shuffle_buffer_size": ("all file names are shuffled", ()),
    "InputReader.frame_index": ("records hold single images", (-1,)),
    "InputReader.include_source_id": ("the source is always read", (_ANY,)),
    "InputReader.keypoint_type_weight": (_NO_MASKS, ()),
    "InputReader.load_context_features": (_NO_CONTEXT, (False,)),
    "InputReader.load_context_image_ids": (_NO_CONTEXT, (False,)),
    "InputReader.load_dense_pose": (_NO_MASKS, (False,)),
    "InputReader.load_instance_masks": (_NO_MASKS, (False,)),
    "InputReader.load_keypoint_depth_features": (_NO_MASKS, (False,)),
    "InputReader.load_multiclass_scores": (_ONE_LABEL, (False,)),
    "InputReader.load_track_id": ("tracks are not predicted", (False,)),
    "InputReader.mask_type": (_NO_MASKS, ()),
    "InputReader.min_after_dequeue": (_QUEUES, ()),
    "InputReader.num_epochs": ("training repeats the data, evaluation reads it once", (0, 1)),
    "InputReader.num_keypoints": (_NO_MASKS, (0,)),
    "InputReader.num_parallel_batches": (_QUEUES, ()),
    "InputReader.num_parallel_map_calls": (_QUEUES, ()),
    "InputReader.num_prefetch_batches": (_QUEUES, ()),
    "InputReader.prefetch_size": (_QUEUES, ()),
    "InputReader.queue_capacity": (_QUEUES, ()),
    "InputReader.read_block_length": (_QUEUES, ()),
    "InputReader.sample_from_datasets_weights": ("all files have the same weight", ()),
    "InputReader.shuffle_buffer_size": ("all records are shuffled, without a buffer", ()),
    "InputReader.use_keypoint_label_map": (_NO_MASKS, (False,)),
}


# Values of a field of some types that are the same as no value.
_TYPE_FIELD_DEFAULTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(TYPE_FIELDS, ()),
    "conv_depth_ratio_in_percentage": (100,),
    "depth_multiplier": (1.0,),
    "freeze_layer": ("",),
    "skip_last_stride": (False,),
}


def _crops(config: faster_rcnn_pb2.FasterRcnn) -> bool:
    return config.second_stage_box_predictor.HasField("mask_rcnn_box_predictor")


def _samples(config: faster_rcnn_pb2.FasterRcnn) -> bool:
    return not config.HasField("hard_example_miner")


def _has_task(config: model_pb2.MTL) -> bool:
    return any(getattr(config, name) for name in (*TASK_FIELDS, "registered_tasks"))


def _may_have_region_head(config: model_pb2.MTL) -> bool:
    return any(getattr(config, name) for name in (*TASKS_WITH_REGION_HEAD, "registered_tasks"))


def _has_field(name: str) -> Callable[[faster_rcnn_pb2.FasterRcnnFeatureExtractor], bool]:
    """Return whether a feature extractor's type has the field `name`."""

    def applies(config: faster_rcnn_pb2.FasterRcnnFeatureExtractor) -> bool:
        entry = BACKBONES.get(config.type)
        return entry is not None and name in entry.fields

    return applies


def _of_types(name: str) -> str:
    """Return the reason for other types to ignore the field `name`."""
    types = [kind for kind, entry in BACKBONES.items() if name in entry.fields]
    return f"applies to the types {', '.join(types)} only"


# The same for fields that depend on the rest of their message: whether they apply in it.
CONDITIONALLY_IGNORED: dict[str, tuple[Callable[[Any], bool], str, tuple[Any, ...]]] = {
    **{
        f"FasterRcnn.{name}": (_crops, "only Faster R-CNN crops features of proposals", ())
        for name in ("initial_crop_size", "maxpool_kernel_size", "maxpool_stride")
    },
    **{
        f"FasterRcnnFeatureExtractor.{name}": (_has_field(name), _of_types(name), default)
        for name, default in _TYPE_FIELD_DEFAULTS.items()
    },
    **{
        f"FasterRcnn.{name}": (_samples, "hard_example_miner uses all proposals", ())
        for name in ("second_stage_batch_size", "second_stage_balance_fraction")
    },
    **{
        f"MTL.{name}": (
            operator.attrgetter(switch),
            f"applies with {switch}: true only",
            (model_pb2.MTL.DESCRIPTOR.fields_by_name[name].default_value,),
        )
        for name, switch in NEEDED_FIELDS.items()
    },
    **{
        f"EvalConfig.recall_{side}_bound": (
            lambda owner: "precision_at_recall_detection_metrics" in owner.metrics_set,
            "applies to precision_at_recall_detection_metrics only",
            (default,),
        )
        for side, default in (("lower", 0.0), ("upper", 1.0))
    },
    "MTL.recompute_stage2": (
        _may_have_region_head,
        f"applies with {' or '.join(TASKS_WITH_REGION_HEAD)} only",
        (False,),
    ),
    "MTL.loss_balance": (
        lambda owner: _has_task(owner) or owner.refine,
        "applies with an auxiliary task only",
        (0,),
    ),
    "BatchNonMaxSuppression.max_detections_per_class": (
        lambda owner: not owner.use_class_agnostic_nms,
        "applies without use_class_agnostic_nms only",
        (),
    ),
    "BatchNonMaxSuppression.max_classes_per_detection": (
        lambda owner: owner.use_class_agnostic_nms,
        "applies with use_class_agnostic_nms only",
        (1,),
    ),
}


def _why_ignored(node: proto_messages.Node) -> tuple[str, tuple[Any, ...]] | None:
    """Return the reason and the harmless values of an ignored field; None for other fields."""
    if node.key in CONDITIONALLY_IGNORED:
        applies_in, why, harmless = CONDITIONALLY_IGNORED[node.key]
        return None if applies_in(node.owner) else (why, harmless)
    return IGNORED_FIELDS.get(node.key)


def find_ignored_fields(config: pipeline_pb2.TrainEvalPipelineConfig) -> dict[str, str]:
    """Return the ignored fields that `config` sets: path -> reason.

    Harmless values are not reported. A field that occurs several times in a repeated message is
    reported at its first occurrence. The contents of an ignored message are not examined.
    """
    paths: dict[str, str] = {}
    keys: set[str] = set()
    for node in proto_messages.walk(config, descend=lambda node: _why_ignored(node) is None):
        ignored = _why_ignored(node)
        if ignored is None or node.key in keys:
            continue
        why, harmless = ignored
        plain = node.field.message_type is None and not node.field.is_repeated
        if _ANY in harmless or (plain and node.value in harmless):
            continue
        keys.add(node.key)
        paths[node.path] = why
    return paths


# Reasons that do not concern a result of training, evaluation or export.
_WITHOUT_CONSEQUENCE = (_QUEUES, _SAME_RESULT, _REPLICAS, _BY_STEPS, _NOT_DRAWN)


def warn_about_ignored_fields(config: pipeline_pb2.TrainEvalPipelineConfig, source: str) -> None:
    """Log one warning that names the ignored fields, if there are any.

    Fields that change no result are only counted; they are listed at the log level DEBUG.

    Args:
        config: as the user wrote it, with overrides.
        source: its name in the message.
    """
    fields = find_ignored_fields(config)
    others = {path: why for path, why in fields.items() if why not in _WITHOUT_CONSEQUENCE}
    count = len(fields) - len(others)
    if others:
        _logger.warning("%s: these fields are ignored:%s", source, _lines(others))
    if count:
        _logger.warning(
            "%s: %d ignored fields change no result, such as %s; --verbosity=1 lists them",
            source,
            count,
            next(path for path in fields if path not in others),
        )
        unused = {path: why for path, why in fields.items() if path not in others}
        _logger.debug("%s: ignored fields that change no result:%s", source, _lines(unused))


def _lines(fields: dict[str, str]) -> str:
    return "".join(f"\n  {path} ({why})" for path, why in fields.items())
