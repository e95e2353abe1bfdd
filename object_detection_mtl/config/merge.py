"""A configuration changed by a second one: the OD API's `--config_override`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from object_detection_mtl.config import messages, pipeline
from object_detection_mtl.protos import pipeline_pb2


def load_merged(
    path: str | Path, config_override: str = "", overrides: Iterable[str] = ()
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """As `pipeline.load`, with a text merged into the file's before anything is resolved.

    Args:
      path: text file with a TrainEvalPipelineConfig.
      config_override: protobuf text of a TrainEvalPipelineConfig. Its fields take the place of the
        file's, messages are merged field by field, elements of repeated fields are appended.
      overrides: `a.b.c=value`, applied after that.

    Raises:
      FileNotFoundError: if there is no such file.
      ConfigError: if a text, an override or a value is wrong.
    """
    if not config_override.strip():
        return pipeline.load(path, overrides)
    config = pipeline_pb2.TrainEvalPipelineConfig()
    messages.parse_text(pipeline.read_text(path), config, str(path))
    change = pipeline_pb2.TrainEvalPipelineConfig()
    messages.parse_text(config_override, change, "--config_override")
    config.MergeFrom(change)
    return pipeline.parse(
        pipeline.to_text(config), overrides, source=f"{path} with --config_override"
    )
