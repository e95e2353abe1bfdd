"""Models of a config."""

from __future__ import annotations

from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.detection_model import DetectionModel
from object_detection_mtl.protos import dialect_pb2, model_pb2, pipeline_pb2

__getattr__ = missing_names.module_getattr(__name__)

# `config.dialects.resolve` sets all of them.
_RESOLVED_FIELDS = (
    "number_of_stages",
    "clip_before_nms",
    "first_stage_localization_sigma",
    "first_stage_activation",
)


def build(
    model_config: model_pb2.DetectionModel, is_training: bool, add_summaries: bool = True
) -> DetectionModel:
    """Return the model of a config, with random weights.

    Args:
        model_config: the `model` part of a config; it is resolved and validated here.
        is_training: whether `predict` samples proposals for `loss`.
        add_summaries: has no effect.

    Raises:
        ConfigError: the model is of another kind than Faster R-CNN and R-FCN, or a value is wrong.
    """
    return DetectionModel(model_builder.build(resolve_config(model_config), is_training))


def resolve_config(model_config: model_pb2.DetectionModel) -> model_pb2.DetectionModel:
    """Return a model configuration with all defaults; a resolved one stays as it is."""
    config = pipeline_pb2.TrainEvalPipelineConfig(model=model_config)
    if all(map(model_config.faster_rcnn.HasField, _RESOLVED_FIELDS)):
        # The dialect of its config is unknown here, and no longer matters.
        config.config_dialect = dialect_pb2.ODAPI
        config.dialect_resolved = True
    return pipeline.complete(config, "model_config").model
