"""Resolution of the two config dialects into explicit canonical fields.

The TF Object Detection API (ODAPI) and the authors' fork of it (MTL_SSL) share most fields but
differ in defaults and in the meaning of some names. `resolve` finds the dialect of a configuration
once and writes its defaults as explicit fields, so that no other module depends on the dialect.
After `resolve`, builders rely on the following:

* `config_dialect` is ODAPI or MTL_SSL, `dialect_resolved` is true.
* `model.faster_rcnn.feature_extractor.type` is a canonical name (see `backbones.registry`): the
  fork's `frcnn_mobilenet_v1` has become `faster_rcnn_mobilenet_v1` and its
  `faster_rcnn_inception_v2`, which is Inception-ResNet-v2 there, `faster_rcnn_inception_resnet_v2`.
* `model.faster_rcnn.feature_extractor.freeze_layer` is set: "block1" in the fork, "" else.
* `model.faster_rcnn.number_of_stages` is set; the fork's `first_stage_only` is gone.
* `half_pixel_centers` of the keep_aspect_ratio_resizer or fixed_shape_resizer is set: false, the
  convention of both reference implementations, unless the configuration sets it.
* `model.faster_rcnn.clip_before_nms` and the grid anchor generator's `tf1_rounding` are set: true
  in the fork, else false. `model.faster_rcnn.first_stage_localization_sigma` is set: 3 in the
  fork, else 1. `first_stage_activation`: that of `first_stage_box_predictor_conv_hyperparams` in
  the fork, else RELU_6.
* `train_config.gradient_clipping_mode` is set: PER_VARIABLE where TensorFlow 1 trained
  (the fork; the Object Detection API's TF1 feature extractors), else GLOBAL_NORM. The limit stays
  in `gradient_clipping_by_norm`.
* `train_config.fine_tune_checkpoint_type` is set where `fine_tune_checkpoint` is: "detection" or
  "classification", from `from_detection_checkpoint`, unless the configuration sets it.
* `eval_config.metrics_set` is not empty and holds canonical names; VOC in the fork, else COCO.
* `keep_checkpoint_every_n_hours`, `eval_interval_secs`, `num_readers` and the queue capacities are
  set to the dialect's defaults.
* Values that the configuration sets always take precedence over these defaults.

The scale of L2 regularization needs no field: both dialects mean weight / 2 * sum(w^2).
`train_config.max_number_of_boxes` gets no default: it has an effect only where the user sets it.
"""

from __future__ import annotations

import logging

from google.protobuf.message import Message

from object_detection_mtl.backbones.registry import BACKBONES
from object_detection_mtl.config import proto_messages
from object_detection_mtl.config.errors import ConfigError, listing
from object_detection_mtl.protos import (
    dialect_pb2,
    eval_pb2,
    hyperparams_pb2,
    pipeline_pb2,
    train_pb2,
)

_logger = logging.getLogger(__name__)

# The one name that means another network in the fork.
_FORK_INCEPTION = "faster_rcnn_inception_v2"
# The fork's names of feature extractors.
_FORK_TYPES = {
    "frcnn_mobilenet_v1": "faster_rcnn_mobilenet_v1",
    _FORK_INCEPTION: "faster_rcnn_inception_resnet_v2",
}
# Names of metrics in the fork and in early versions of the OD API -> those of its last version.
OLD_METRICS = {
    "coco_metrics": "coco_detection_metrics",
    "pascal_voc_metrics": "pascal_voc_detection_metrics",
    "weighted_pascal_voc_metrics": "weighted_pascal_voc_detection_metrics",
    "open_images_metrics": "oid_V2_detection_metrics",
    "open_images_detection_metrics": "oid_V2_detection_metrics",
    "open_images_V2_detection_metrics": "oid_V2_detection_metrics",
}
# Fields with one default in each dialect: (Object Detection API, fork).
DIALECT_DEFAULTS = {
    "EvalConfig.eval_interval_secs": (300, 120),
    "InputReader.num_readers": (64, 8),
    "TrainConfig.batch_queue_capacity": (150, 600),
    "TrainConfig.keep_checkpoint_every_n_hours": (10000, 1000),
    "TrainConfig.prefetch_queue_capacity": (5, 10),
    "FasterRcnnFeatureExtractor.freeze_layer": ("", "block1"),
}
_DEFAULT_METRICS = ("coco_detection_metrics", "pascal_voc_detection_metrics")


def origin(field: proto_messages.FieldDescriptor) -> int:
    """Return the dialect of `field`: ODAPI, MTL_SSL, or AUTO if both or neither have it."""
    return field.GetOptions().Extensions[dialect_pb2.only_in]


def _marked_fields(config: pipeline_pb2.TrainEvalPipelineConfig) -> dict[int, list[str]]:
    """Return the paths of the fields outside `mtl {}` that only one dialect has, by dialect."""
    found: dict[int, list[str]] = {dialect_pb2.ODAPI: [], dialect_pb2.MTL_SSL: []}

    def outside_own_fields(node: proto_messages.Node) -> bool:
        return not node.field.GetOptions().Extensions[dialect_pb2.own]

    for node in proto_messages.walk(config, descend=outside_own_fields):
        if origin(node.field) != dialect_pb2.AUTO:
            found[origin(node.field)].append(node.path)
    return found


def detect(config: pipeline_pb2.TrainEvalPipelineConfig) -> dialect_pb2.ConfigDialect:
    """Return the dialect of an AUTO configuration.

    Args:
        config: an unresolved configuration.

    Raises:
        ConfigError: the configuration sets fields of both dialects; the message names them.
    """
    marked = _marked_fields(config)
    fork, odapi = marked[dialect_pb2.MTL_SSL], marked[dialect_pb2.ODAPI]
    if fork and odapi:
        raise ConfigError(
            "the configuration mixes two dialects, whose defaults differ. Only the authors' fork "
            f"has {listing(fork)}; only the Object Detection API has {listing(odapi)}. Remove the "
            "fields of one of them, or choose whose defaults apply: config_dialect: ODAPI, or "
            f"config_dialect: MTL_SSL{_heavier_network(config)}"
        )
    if fork:
        _logger.info("config dialect MTL_SSL, found from %s", listing(fork, 3))
        return dialect_pb2.MTL_SSL
    return dialect_pb2.ODAPI


def _heavier_network(config: pipeline_pb2.TrainEvalPipelineConfig) -> str:
    """Return the end of a message on the fork's meaning of the feature extractor's type."""
    if config.model.faster_rcnn.feature_extractor.type != _FORK_INCEPTION:
        return ""
    return f" (in which {_FORK_INCEPTION} means Inception-ResNet-v2, not Inception v2)"


def resolve(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    written: pipeline_pb2.TrainEvalPipelineConfig | None = None,
) -> None:
    """Write the dialect of `config` as explicit fields, in place; see the module docstring.

    A resolved configuration may be resolved again: only fields that an override cleared change.

    Args:
        config: changed in place.
        written: the configuration before overrides, from which AUTO is resolved: `freeze_layer` on
            the command line must not turn every other default into the fork's. None: `config`
            itself.

    Raises:
        ConfigError: the configuration mixes dialects, or sets `dialect_resolved` without
            `config_dialect`.
    """
    if config.config_dialect == dialect_pb2.AUTO:
        if config.dialect_resolved:
            raise ConfigError(
                "dialect_resolved: true without config_dialect; a resolved configuration names its "
                "dialect. Set config_dialect, or remove dialect_resolved to detect the dialect"
            )
        config.config_dialect = detect(config if written is None else written)
    config.dialect_resolved = True
    config.eval_config.SetInParent()
    _resolve_model(config)
    _resolve_training(config)
    _resolve_metrics(config.eval_config, config.config_dialect)
    _write_defaults(config)


def _is_fork(config: pipeline_pb2.TrainEvalPipelineConfig) -> bool:
    return config.config_dialect == dialect_pb2.MTL_SSL


def _ran_on_tf1(config: pipeline_pb2.TrainEvalPipelineConfig) -> bool:
    """Return whether the configuration was written for TensorFlow 1."""
    entry = BACKBONES.get(config.model.faster_rcnn.feature_extractor.type)
    return _is_fork(config) or (entry is not None and entry.is_tf1)


def _fill(message: Message, name: str, value: object) -> None:
    """Set a field that the user did not set."""
    if not message.HasField(name):
        setattr(message, name, value)


def _resolve_model(config: pipeline_pb2.TrainEvalPipelineConfig) -> None:
    if config.model.WhichOneof("model") != "faster_rcnn":
        return  # refused by validation
    faster_rcnn = config.model.faster_rcnn
    is_fork = _is_fork(config)
    extractor = faster_rcnn.feature_extractor
    if is_fork and extractor.type in _FORK_TYPES:
        if extractor.type == _FORK_INCEPTION:
            _logger.warning(
                "feature_extractor.type %s is Inception-ResNet-v2 in the authors' fork, whose "
                "dialect this config has; for Inception v2 set config_dialect: ODAPI",
                extractor.type,
            )
        extractor.type = _FORK_TYPES[extractor.type]
    extractor.SetInParent()
    _fill(faster_rcnn, "number_of_stages", 1 if faster_rcnn.first_stage_only else 2)
    faster_rcnn.ClearField("first_stage_only")
    _fill(faster_rcnn, "clip_before_nms", is_fork)
    _fill(faster_rcnn, "first_stage_localization_sigma", 3.0 if is_fork else 1.0)
    written = faster_rcnn.first_stage_box_predictor_conv_hyperparams.activation
    relu6 = hyperparams_pb2.Hyperparams.RELU_6
    _fill(faster_rcnn, "first_stage_activation", written if is_fork else relu6)
    if faster_rcnn.first_stage_anchor_generator.HasField("grid_anchor_generator"):
        grid = faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
        _fill(grid, "tf1_rounding", is_fork)
    name = faster_rcnn.image_resizer.WhichOneof("image_resizer_oneof")
    if name in ("keep_aspect_ratio_resizer", "fixed_shape_resizer"):
        resizer = getattr(faster_rcnn.image_resizer, name)
        _fill(resizer, "half_pixel_centers", False)


def _resolve_training(config: pipeline_pb2.TrainEvalPipelineConfig) -> None:
    if not config.HasField("train_config"):
        return
    train = config.train_config
    modes = train_pb2.TrainConfig
    mode = modes.PER_VARIABLE if _ran_on_tf1(config) else modes.GLOBAL_NORM
    _fill(train, "gradient_clipping_mode", mode)
    if train.fine_tune_checkpoint and not train.fine_tune_checkpoint_type:
        train.fine_tune_checkpoint_type = (
            "detection" if train.from_detection_checkpoint else "classification"
        )


def _resolve_metrics(evaluation: eval_pb2.EvalConfig, dialect: int) -> None:
    written = [*dict.fromkeys(OLD_METRICS.get(name, name) for name in evaluation.metrics_set)]
    is_fork = dialect == dialect_pb2.MTL_SSL
    evaluation.metrics_set[:] = written or [_DEFAULT_METRICS[is_fork]]


def _write_defaults(config: pipeline_pb2.TrainEvalPipelineConfig) -> None:
    """Set the unset fields of `DIALECT_DEFAULTS` in every message that the configuration has."""
    parts: list[Message] = [config.eval_config, *config.eval_input_reader]
    if config.model.faster_rcnn.HasField("feature_extractor"):
        parts.append(config.model.faster_rcnn.feature_extractor)
    for name in ("train_config", "train_input_reader"):
        if config.HasField(name):
            parts.append(getattr(config, name))
    for part in parts:
        kind = proto_messages.type_key(part.DESCRIPTOR)
        for key, values in DIALECT_DEFAULTS.items():
            owner, name = key.rsplit(".", 1)
            if owner == kind:
                _fill(part, name, values[_is_fork(config)])
