"""Validation of a resolved configuration.

All problems of a configuration are reported together, one line each, with the field's path, its
value and what is allowed. Ranges of single fields are in `field_rules`; this module checks
conditions on several fields and required fields. A job is refused for fields that it reads: the
model is checked when a configuration is loaded, the rest by `require_training` and
`require_evaluation`. Unsupported members of oneofs that a builder
translates (optimizer, schedule, initializer ...) are refused by that builder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import Message

from object_detection_mtl.backbones.registry import BACKBONES
from object_detection_mtl.config import feature_extractors, field_rules, proto_messages
from object_detection_mtl.config.errors import ConfigError, listing, suggestion
from object_detection_mtl.protos import (
    anchor_generator_pb2,
    eval_pb2,
    faster_rcnn_pb2,
    image_resizer_pb2,
    input_reader_pb2,
    model_pb2,
    optimizer_pb2,
    pipeline_pb2,
)

METRICS = (
    "coco_detection_metrics",
    "pascal_voc_detection_metrics",
    "weighted_pascal_voc_detection_metrics",
    "precision_at_recall_detection_metrics",
    "oid_V2_detection_metrics",
    "oid_challenge_detection_metrics",
)
# Metrics of the Object Detection API that do not exist here -> why.
_OTHER_METRICS = {
    "oid_challenge_segmentation_metrics": "needs masks, which are unsupported",
    "coco_mask_metrics": "needs masks, which are unsupported",
    "coco_panoptic_metrics": "needs masks, which are unsupported",
    "lvis_mask_metrics": "needs masks, which are unsupported",
    "pascal_voc_instance_segmentation_metrics": "needs masks, which are unsupported",
    "weighted_pascal_voc_instance_segmentation_metrics": "needs masks, which are unsupported",
    "coco_keypoint_metrics": "needs keypoints, which are unsupported",
}

# Stands for a path in sample configurations of the Object Detection API.
_PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
_BOX_PREDICTORS = ("mask_rcnn_box_predictor", "rfcn_box_predictor")


def validate(config: pipeline_pb2.TrainEvalPipelineConfig) -> None:
    """Check the model of a resolved configuration.

    Raises:
        ConfigError: the message lists every problem.
    """
    check_meta_architecture(config.model)
    _raise(find_model_problems(config), "the configuration cannot be used")


def require_training(config: pipeline_pb2.TrainEvalPipelineConfig) -> None:
    """Check what training reads of a validated configuration.

    Raises:
        ConfigError: the message lists every problem.
    """
    _raise(find_training_problems(config), "the configuration cannot be used for training")


def require_evaluation(
    config: pipeline_pb2.TrainEvalPipelineConfig, *, on_train_data: bool = False
) -> None:
    """Check what evaluation reads of a validated configuration.

    Args:
        config: the configuration.
        on_train_data: evaluate the train_input_reader instead of the eval_input_reader.

    Raises:
        ConfigError: the message lists every problem.
    """
    problems = find_evaluation_problems(config, on_train_data=on_train_data)
    _raise(problems, "the configuration cannot be used for evaluation")


def find_model_problems(config: pipeline_pb2.TrainEvalPipelineConfig) -> list[str]:
    """Return one line for each problem of the model."""
    return [
        *_broken_rules(config, "model", "graph_rewriter"),
        *_model_problems(config.model.faster_rcnn),
    ]


def find_training_problems(config: pipeline_pb2.TrainEvalPipelineConfig) -> list[str]:
    """Return one line for each problem of the fields that only training reads."""
    train = config.train_config
    problems = [*_missing(config, ["train_config", "train_input_reader"])]
    problems += _broken_rules(config, "train_config", "train_input_reader")
    if train.optimizer.WhichOneof("optimizer") is None:
        problems.append(
            "train_config.optimizer: is missing; set momentum_optimizer, adam_optimizer or "
            "rms_prop_optimizer"
        )
    problems += _schedule_problems(train.optimizer, "train_config.optimizer")
    for index, step in enumerate(train.data_augmentation_options):
        if step.WhichOneof("preprocessing_step") is None:
            problems.append(f"train_config.data_augmentation_options[{index}]: is empty")
    if train.num_micro_batches and train.batch_size % train.num_micro_batches:
        problems.append(
            f"train_config.num_micro_batches = {train.num_micro_batches}: must divide batch_size = "
            f"{train.batch_size}"
        )
    model = config.model.faster_rcnn
    if model.second_stage_batch_size > model.first_stage_max_proposals:
        problems.append(
            f"model.faster_rcnn.second_stage_batch_size = {model.second_stage_batch_size}: must be "
            f"at most first_stage_max_proposals = {model.first_stage_max_proposals}, from which it "
            "samples"
        )
    problems += _reader_problems([config.train_input_reader], "train_input_reader")
    if _PLACEHOLDER in train.fine_tune_checkpoint:
        problems.append(_placeholder("train_config.fine_tune_checkpoint"))
    return problems


def find_evaluation_problems(
    config: pipeline_pb2.TrainEvalPipelineConfig, *, on_train_data: bool = False
) -> list[str]:
    """Return one line for each problem of the fields that only evaluation reads."""
    name = "train_input_reader" if on_train_data else "eval_input_reader"
    readers = [config.train_input_reader] if on_train_data else config.eval_input_reader
    return [
        *_missing(config, [name]),
        *_broken_rules(config, "eval_config", name),
        *_reader_problems(readers, name),
        *_metric_problems(config.eval_config),
    ]


def _raise(problems: Sequence[str], what: str) -> None:
    if problems:
        raise ConfigError(f"{what}:" + "".join(f"\n  {problem}" for problem in problems))


def check_meta_architecture(model: model_pb2.DetectionModel) -> None:
    """Check that `model` is a two-stage detector.

    Raises:
        ConfigError: it is not.
    """
    chosen = model.WhichOneof("model")
    if chosen is None:
        raise ConfigError(
            "model: is missing; set model { faster_rcnn { ... } } (R-FCN is a faster_rcnn with an "
            "rfcn_box_predictor)"
        )
    if chosen != "faster_rcnn":
        name = {"ssd": "SSD", "center_net": "CenterNet"}.get(chosen, chosen)
        raise ConfigError(
            f"model.{chosen}: the meta-architecture {name} is not supported; this package has "
            "Faster R-CNN and R-FCN: model { faster_rcnn { ... } }"
        )


def _broken_rules(config: pipeline_pb2.TrainEvalPipelineConfig, *roots: str) -> Iterator[str]:
    """Yield one line for each field below the top-level fields `roots` that breaks its rule."""
    for node in proto_messages.walk(config):
        rule = field_rules.RULES.get(node.key)
        if rule is None or re.split(r"[.\[]", node.path)[0] not in roots:
            continue
        value = list(node.value) if node.field.is_repeated else node.value
        if not rule.holds(value):
            shown = f" = {value!r}" if node.field.message_type is None else ""
            yield f"{node.path}{shown}: must be {rule.words}"


def _missing(message: Message, names: Iterable[str], path: str = "") -> list[str]:
    """Return one line for each field of `message` that is not set."""
    prefix = f"{path}." if path else ""
    absent = []
    for name in names:
        field = message.DESCRIPTOR.fields_by_name[name]
        present = getattr(message, name) if field.is_repeated else message.HasField(name)
        if not present:
            absent.append(f"{prefix}{name}: is missing")
    return absent


def _model_problems(config: faster_rcnn_pb2.FasterRcnn) -> list[str]:
    path = "model.faster_rcnn"
    needed = ["num_classes"]
    if config.number_of_stages > 1:
        needed.append("second_stage_box_predictor")
    problems = _missing(config, needed, path)
    problems += feature_extractors.problems(config.feature_extractor, f"{path}.feature_extractor")
    problems += _resizer_problems(config.image_resizer, f"{path}.image_resizer")
    problems += _anchor_problems(config.first_stage_anchor_generator, path)
    if config.number_of_stages > 1:
        problems += _second_stage_problems(config, path)
    nms = config.second_stage_post_processing.batch_non_max_suppression
    if nms.max_detections_per_class > nms.max_total_detections:
        problems.append(
            f"{path}.second_stage_post_processing.batch_non_max_suppression."
            f"max_detections_per_class = {nms.max_detections_per_class}: must be at most "
            f"max_total_detections = {nms.max_total_detections}"
        )
    return problems


def _resizer_problems(config: image_resizer_pb2.ImageResizer, path: str) -> Iterator[str]:
    if config.WhichOneof("image_resizer_oneof") is None:
        yield f"{path}: is missing; set keep_aspect_ratio_resizer or fixed_shape_resizer"
    keep = config.keep_aspect_ratio_resizer
    if keep.min_dimension > keep.max_dimension:
        yield (
            f"{path}.keep_aspect_ratio_resizer.min_dimension = {keep.min_dimension}: must be at "
            f"most max_dimension = {keep.max_dimension}"
        )


def _anchor_problems(config: anchor_generator_pb2.AnchorGenerator, path: str) -> Iterator[str]:
    path = f"{path}.first_stage_anchor_generator"
    chosen = config.WhichOneof("anchor_generator_oneof")
    if chosen != "grid_anchor_generator":
        what = f"{chosen} is not supported" if chosen else "is missing"
        yield f"{path}: {what}; two-stage detectors use grid_anchor_generator"
        return
    for name in ("scales", "aspect_ratios"):
        if not getattr(config.grid_anchor_generator, name):
            yield f"{path}.grid_anchor_generator.{name}: at least one is needed"


def _second_stage_problems(config: faster_rcnn_pb2.FasterRcnn, path: str) -> Iterator[str]:
    predictor = config.second_stage_box_predictor
    chosen = predictor.WhichOneof("box_predictor_oneof")
    path_to_predictor = f"{path}.second_stage_box_predictor"
    if chosen == "mask_rcnn_box_predictor":
        yield from _missing(
            config, ["initial_crop_size", "maxpool_kernel_size", "maxpool_stride"], path
        )
        if config.maxpool_kernel_size > config.initial_crop_size > 0:
            yield (
                f"{path}.maxpool_kernel_size = {config.maxpool_kernel_size}: must be at most "
                f"initial_crop_size = {config.initial_crop_size}"
            )
        yield from _crop_problems(config, path)
        hidden = predictor.mask_rcnn_box_predictor
        if hidden.num_layers_before_predictor > 0 and not (hidden.min_depth or hidden.max_depth):
            yield (
                f"{path_to_predictor}.mask_rcnn_box_predictor.max_depth: is missing; set the "
                "number of units of the layers of num_layers_before_predictor"
            )
    elif chosen == "rfcn_box_predictor":
        rfcn = predictor.rfcn_box_predictor
        for side in ("height", "width"):
            crop, bins = getattr(rfcn, f"crop_{side}"), getattr(rfcn, f"num_spatial_bins_{side}")
            if crop > 0 and bins > 0 and crop % bins:
                yield (
                    f"{path_to_predictor}.rfcn_box_predictor.crop_{side} = {crop}: must be a "
                    f"multiple of num_spatial_bins_{side} = {bins}"
                )
    elif config.HasField("second_stage_box_predictor"):
        what = f"{chosen} is not supported" if chosen else "is empty"
        yield f"{path_to_predictor}: {what}; must be {' or '.join(_BOX_PREDICTORS)}"


def _crop_problems(config: faster_rcnn_pb2.FasterRcnn, path: str) -> Iterator[str]:
    """Yield a line if the pooled crop is too small for stage 2."""
    kind = config.feature_extractor.type
    least = BACKBONES[kind].smallest_crop if kind in BACKBONES else 1
    pooled_from = config.initial_crop_size - config.maxpool_kernel_size
    if pooled_from < 0 or config.maxpool_kernel_size < 1 or config.maxpool_stride < 1:
        return  # Other rules refuse these values.
    side = pooled_from // config.maxpool_stride + 1
    if side < least:
        yield (
            f"{path}.initial_crop_size = {config.initial_crop_size}: max-pooling (kernel "
            f"{config.maxpool_kernel_size}, stride {config.maxpool_stride}) reduces crops to "
            f"{side}x{side}; stage 2 of {kind} needs at least {least}x{least}"
        )


def _schedule_problems(config: optimizer_pb2.Optimizer, path: str) -> Iterator[str]:
    chosen = config.WhichOneof("optimizer")
    if chosen is None:
        return
    rate = getattr(config, chosen).learning_rate
    path = f"{path}.{chosen}.learning_rate"
    if rate.WhichOneof("learning_rate") is None:
        yield f"{path}: is missing; set a schedule, such as constant_learning_rate"
    steps = [piece.step for piece in rate.manual_step_learning_rate.schedule]
    if any(later <= earlier for earlier, later in zip(steps, steps[1:], strict=False)):
        yield f"{path}.manual_step_learning_rate.schedule: steps must increase, got {steps}"
    if rate.manual_step_learning_rate.warmup and not steps:
        yield f"{path}.manual_step_learning_rate.warmup: needs at least one schedule entry"
    cosine = rate.cosine_decay_learning_rate
    if rate.HasField("cosine_decay_learning_rate"):
        flat = cosine.warmup_steps + cosine.hold_base_rate_steps
        if flat > cosine.total_steps:
            yield (
                f"{path}.cosine_decay_learning_rate.total_steps = {cosine.total_steps}: must be at "
                f"least warmup_steps + hold_base_rate_steps = {flat}"
            )
        if cosine.warmup_steps and cosine.warmup_learning_rate > cosine.learning_rate_base:
            yield (
                f"{path}.cosine_decay_learning_rate.warmup_learning_rate = "
                f"{cosine.warmup_learning_rate:g}: must be at most learning_rate_base = "
                f"{cosine.learning_rate_base:g}"
            )


def _metric_problems(config: eval_pb2.EvalConfig) -> Iterator[str]:
    for index, name in enumerate(config.metrics_set):
        if name not in METRICS:
            near = suggestion(name, METRICS)
            why = _OTHER_METRICS.get(name, f"must be one of {listing(METRICS)}{near}")
            yield f'eval_config.metrics_set[{index}] = "{name}": {why}'


def _reader_problems(readers: Sequence[input_reader_pb2.InputReader], name: str) -> Iterator[str]:
    for index, reader in enumerate(readers):
        path = name if len(readers) == 1 else f"{name}[{index}]"
        chosen = reader.WhichOneof("input_reader")
        paths = reader.tf_record_input_reader.input_path
        if chosen == "external_input_reader":
            yield f"{path}.external_input_reader: is not supported; set tf_record_input_reader"
        elif not paths:
            yield f"{path}.tf_record_input_reader.input_path: is missing"
        for where, text in [
            (f"{path}.label_map_path", reader.label_map_path),
            *((f"{path}.tf_record_input_reader.input_path", text) for text in paths),
        ]:
            if _PLACEHOLDER in text:
                yield _placeholder(where)


def _placeholder(path: str) -> str:
    return f"{path}: is the placeholder {_PLACEHOLDER}; set the path of your file"
