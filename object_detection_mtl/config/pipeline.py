"""Reading, changing, checking and writing the configuration of an experiment.

    config = pipeline.load("faster_rcnn.config", overrides=["train_config.batch_size=4"])

What comes back is complete: read, overridden, its dialect resolved (see `dialects` for what a
builder can rely on) and validated. `save` writes the same thing as text; loading that gives an
equal configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format

from object_detection_mtl import folders
from object_detection_mtl.config import (
    dialects,
    ignored_fields,
    proto_messages,
    suspicious_values,
    validation,
)
from object_detection_mtl.config import overrides as overrides_lib
from object_detection_mtl.config.errors import ConfigError, suggestion
from object_detection_mtl.protos import pipeline_pb2

__all__ = ["ConfigError", "load", "parse", "read_text", "save", "to_text"]


def load(
    path: str | Path, overrides: Iterable[str] = (), merge: str = ""
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Reads a `pipeline.config` of either dialect.

    Args:
      path: text file with a TrainEvalPipelineConfig.
      overrides: `a.b.c=value`, applied in order before anything is checked; see `overrides`.
      merge: protobuf text merged into the configuration before `overrides`: single fields replace,
        repeated ones are appended (the Object Detection API's --config_override).

    Returns:
      The resolved and validated configuration.

    Raises:
      FileNotFoundError: if there is no such file, with the nearest name in its folder.
      ConfigError: if the text, an override or a value is wrong.
    """
    return parse(read_text(path), overrides, str(path), merge)


def parse(
    text: str, overrides: Iterable[str] = (), source: str = "<text>", merge: str = ""
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """As `load`, from text; `source` is what errors call it."""
    written = _read(text, source)
    if not written.ListFields():
        raise ConfigError(f"{source}: the configuration is empty; expected model {{ ... }}")
    config = _copy(written)
    if merge:
        config.MergeFrom(_read(merge, "the text to merge"))
    try:
        overrides_lib.apply(config, overrides)
        asked_for = _copy(config)
        validation.check_meta_architecture(config.model)
        dialects.resolve(config, written)
        validation.validate(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    if not written.dialect_resolved:  # a resolved one was reported when it was resolved
        ignored_fields.warn_about_ignored_fields(asked_for, source)
        suspicious_values.warn_about_suspicious_values(config, source)
    return config


def _read(text: str, source: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    config = pipeline_pb2.TrainEvalPipelineConfig()
    proto_messages.parse_text(text, config, source)
    return config


def _copy(config: pipeline_pb2.TrainEvalPipelineConfig) -> pipeline_pb2.TrainEvalPipelineConfig:
    copy = pipeline_pb2.TrainEvalPipelineConfig()
    copy.CopyFrom(config)
    return copy


def to_text(config: pipeline_pb2.TrainEvalPipelineConfig) -> str:
    """The configuration as protobuf text."""
    return text_format.MessageToString(config)


def save(config: pipeline_pb2.TrainEvalPipelineConfig, path: str | Path) -> None:
    """Writes `config` as text, creating the folder; an existing file is replaced."""
    path = Path(path)
    folders.make(path.parent)
    path.write_text(to_text(config), encoding="utf-8")


def read_text(path: str | Path) -> str:
    """The contents of a text file a user named.

    Raises:
      FileNotFoundError: with the nearest name in the folder, or the part of the path that is there.
      ConfigError: if it is a folder or holds no text.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the path of a file")
    if not path.exists():
        folder = path.parent
        if folder.is_dir():
            hint = suggestion(path.name, (entry.name for entry in folder.iterdir()))
        else:
            hint = f"; the folder {folder} does not exist either"
        raise FileNotFoundError(f"{path} does not exist{hint}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text file; expected protobuf text in UTF-8") from None
