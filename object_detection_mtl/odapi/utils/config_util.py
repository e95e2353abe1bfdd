"""Pipeline configs as a dictionary of protos, and back.

Nothing here validates: scripts edit configs of any model. `model_builder.build`, training and
export resolve and validate what they are given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from object_detection_mtl.config import overrides, pipeline
from object_detection_mtl.config.errors import suggestion
from object_detection_mtl.config.proto_messages import parse_text
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.protos import (
    image_resizer_pb2,
    model_pb2,
    optimizer_pb2,
    pipeline_pb2,
)

__getattr__ = missing_names.module_getattr(__name__)

Configs = dict[str, Any]

# Key of the dictionary -> field of TrainEvalPipelineConfig. The last two are this package's own:
# without them a resolved config could not be written back.
_FIELDS = {
    "model": "model",
    "train_config": "train_config",
    "train_input_config": "train_input_reader",
    "eval_config": "eval_config",
    "eval_input_configs": "eval_input_reader",
    "graph_rewriter_config": "graph_rewriter",
    "config_dialect": "config_dialect",
    "dialect_resolved": "dialect_resolved",
}
_OPTIONAL = ("graph_rewriter_config", "config_dialect", "dialect_resolved")
_FIRST_EVAL_INPUT = "eval_input_config"


def get_configs_from_pipeline_file(
    pipeline_config_path: str | os.PathLike[str], config_override: Any = None
) -> Configs:
    """Read a config of any model as a dictionary of its parts.

    Args:
        pipeline_config_path: the file.
        config_override: text, or a TrainEvalPipelineConfig, to merge into it.

    Returns:
        The protos `model`, `train_config`, `train_input_config`, `eval_config`,
        `eval_input_configs` (a list) and `eval_input_config` (its first element).

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: the text is not a config.
    """
    config = _parsed(pipeline.read_text(pipeline_config_path), str(pipeline_config_path))
    if config_override:
        if isinstance(config_override, str):
            config_override = _parsed(config_override, "config_override")
        config.MergeFrom(config_override)
    return create_configs_from_pipeline_proto(config)


def _parsed(text: str, source: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    config = pipeline_pb2.TrainEvalPipelineConfig()
    parse_text(text, config, source)
    return config


def create_configs_from_pipeline_proto(config: pipeline_pb2.TrainEvalPipelineConfig) -> Configs:
    """Return the parts of a config; see `get_configs_from_pipeline_file`."""
    configs = {
        key: getattr(config, field)
        for key, field in _FIELDS.items()
        if key not in _OPTIONAL or config.HasField(field)
    }
    if config.eval_input_reader:
        configs[_FIRST_EVAL_INPUT] = config.eval_input_reader[0]
    return configs


def create_pipeline_proto_from_configs(
    configs: Mapping[str, Any],
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Return the config of a dictionary of parts."""
    config = pipeline_pb2.TrainEvalPipelineConfig()
    for key, field in _FIELDS.items():
        value = configs.get(key)
        if value is None:
            continue
        if key == "eval_input_configs":
            config.eval_input_reader.extend(value)
        elif hasattr(value, "DESCRIPTOR"):
            getattr(config, field).CopyFrom(value)
        else:
            setattr(config, field, value)
    return config


def save_pipeline_config(
    pipeline_config: pipeline_pb2.TrainEvalPipelineConfig, directory: str | os.PathLike[str]
) -> None:
    """Write a config as `pipeline.config` in a directory."""
    pipeline.save(pipeline_config, os.path.join(directory, "pipeline.config"))


def get_image_resizer_config(
    model_config: model_pb2.DetectionModel,
) -> image_resizer_pb2.ImageResizer:
    """Return the image resizer of a model."""
    return _chosen_model(model_config).image_resizer


def get_number_of_classes(model_config: model_pb2.DetectionModel) -> int:
    """Return the number of classes of a model."""
    return _chosen_model(model_config).num_classes


def _chosen_model(model_config: model_pb2.DetectionModel) -> Any:
    chosen = model_config.WhichOneof("model")
    if chosen is None:
        raise ValueError("the model config is empty; expected model { faster_rcnn { ... } }")
    return getattr(model_config, chosen)


def get_spatial_image_size(
    image_resizer_config: image_resizer_pb2.ImageResizer,
) -> list[int]:
    """Return [height, width] of resized images; -1 where it depends on the image."""
    chosen = image_resizer_config.WhichOneof("image_resizer_oneof")
    if chosen == "fixed_shape_resizer":
        fixed = image_resizer_config.fixed_shape_resizer
        return [fixed.height, fixed.width]
    if chosen == "keep_aspect_ratio_resizer":
        keep = image_resizer_config.keep_aspect_ratio_resizer
        if keep.pad_to_max_dimension or keep.min_dimension == keep.max_dimension:
            return [keep.max_dimension] * 2
    return [-1, -1]


def get_optimizer_type(train_config: Any) -> str | None:
    """Return the name of the optimizer's field; None if none is set."""
    return train_config.optimizer.WhichOneof("optimizer")


def get_learning_rate_type(optimizer_config: Any) -> str | None:
    """Return the name of the schedule's field; None if none is set."""
    return optimizer_config.learning_rate.WhichOneof("learning_rate")


def merge_external_params_with_configs(
    configs: MutableMapping[str, Any], hparams: Any = None, kwargs_dict: Any = None
) -> MutableMapping[str, Any]:
    """Change parts of a config by name.

    Args:
        configs: changed in place.
        hparams: an object of TensorFlow 1; only its `values()` are read.
        kwargs_dict: name -> value. A name is one of `_SHORT_NAMES`, or the path of a field, such as
            `train_config.batch_size`. None is skipped.

    Returns:
        `configs`.

    Raises:
        ValueError: a name is unknown, or a value does not fit.
    """
    values = {**(hparams.values() if hparams is not None else {}), **(kwargs_dict or {})}
    config = create_pipeline_proto_from_configs(configs)
    for name, value in values.items():
        if value is not None:
            overrides.apply(config, _overrides_of(name, value, config))
    configs.update(create_configs_from_pipeline_proto(config))
    return configs


# Names of the OD API -> paths of fields. "*" stands for every eval_input_reader.
_SHORT_NAMES = {
    "batch_size": ("train_config.batch_size",),
    "train_steps": ("train_config.num_steps",),
    "use_bfloat16": ("train_config.use_bfloat16",),
    "train_shuffle": ("train_input_reader.shuffle",),
    "eval_shuffle": ("eval_input_reader[*].shuffle",),
    "eval_num_examples": ("eval_config.num_examples",),
    "eval_num_epochs": ("eval_input_reader[*].num_epochs",),
    "retain_original_images_in_eval": ("eval_config.retain_original_images",),
    "sample_1_of_n_eval_examples": ("eval_input_reader[*].sample_1_of_n_examples",),
    "label_map_path": (
        "train_input_reader.label_map_path",
        "eval_input_reader[*].label_map_path",
    ),
    "train_input_path": ("train_input_reader.tf_record_input_reader.input_path",),
    "eval_input_path": ("eval_input_reader[*].tf_record_input_reader.input_path",),
    "num_classes": ("model.faster_rcnn.num_classes",),
}
_RATES = {
    "constant_learning_rate": "learning_rate",
    "exponential_decay_learning_rate": "initial_learning_rate",
    "manual_step_learning_rate": "initial_learning_rate",
    "cosine_decay_learning_rate": "learning_rate_base",
}


def _overrides_of(
    name: str, value: Any, config: pipeline_pb2.TrainEvalPipelineConfig
) -> Iterator[str]:
    if name in ("learning_rate", "momentum_optimizer_value"):
        paths: tuple[str, ...] = (_optimizer_path(name, config.train_config.optimizer),)
    elif name in _SHORT_NAMES:
        paths = _SHORT_NAMES[name]
    elif "." in name:
        root, _, below = name.partition(".")
        paths = (f"{_FIELDS.get(root, root)}.{below}",)
    else:
        raise ValueError(
            f"{name} is not a parameter of a config{suggestion(name, _SHORT_NAMES)}; give the path "
            "of a field, such as train_config.batch_size"
        )
    for path in paths:
        for number in range(len(config.eval_input_reader)) if "*" in path else (0,):
            yield f"{path.replace('*', str(number))}={_text(value)}"


def _optimizer_path(name: str, optimizer: optimizer_pb2.Optimizer) -> str:
    path = f"train_config.optimizer.{optimizer.WhichOneof('optimizer')}"
    if name != "learning_rate":
        return f"{path}.{name}"
    chosen = getattr(optimizer, str(optimizer.WhichOneof("optimizer")))
    schedule = get_learning_rate_type(chosen) or "constant_learning_rate"
    return f"{path}.learning_rate.{schedule}.{_RATES[schedule]}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
