"""Load, override, validate and save a `pipeline.config`.

    config = pipeline.load("faster_rcnn.config", overrides=["train_config.batch_size=4"])

The result is complete: overrides are applied, its dialect is resolved (see `dialects` for what
builders rely on), and it is validated. `save` writes it as text; loading that text gives an equal
configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format

from object_detection_mtl import output_paths
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

__all__ = ["ConfigError", "complete", "load", "parse", "read_text", "save", "to_text"]


def load(
    path: str | Path, overrides: Iterable[str] = (), merge: str = ""
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Read a `pipeline.config` of either dialect.

    Args:
        path: text file with a TrainEvalPipelineConfig.
        overrides: `a.b.c=value`, applied in order before any check; see `overrides`.
        merge: protobuf text merged into the configuration before `overrides`: singular fields are
            replaced, repeated ones extended (the Object Detection API's --config_override).

    Returns:
        The resolved and validated configuration.

    Raises:
        FileNotFoundError: the file does not exist; the message suggests the nearest name in its
            directory.
        ConfigError: the text, an override or a value is wrong.
    """
    return parse(read_text(path), overrides, str(path), merge)


def parse(
    text: str, overrides: Iterable[str] = (), source: str = "<text>", merge: str = ""
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Parse a configuration from text; see `load`. `source` names it in error messages."""
    written = _read(text, source)
    if not written.ListFields():
        raise ConfigError(f"{source}: the configuration is empty; expected model {{ ... }}")
    config = _copy(written)
    if merge:
        config.MergeFrom(_read(merge, "the text to merge"))
    try:
        overrides_lib.apply(config, overrides)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return complete(config, source, written)


def complete(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    source: str = "the configuration",
    written: pipeline_pb2.TrainEvalPipelineConfig | None = None,
) -> pipeline_pb2.TrainEvalPipelineConfig:
    """Return a configuration that was not read by `load`, resolved and validated.

    Args:
        config: unchanged.
        source: its name in messages.
        written: see `dialects.resolve`; None for `config`.

    Raises:
        ConfigError: a value is wrong.
    """
    completed = _copy(config)
    written = config if written is None else written
    try:
        validation.check_meta_architecture(config.model)
        dialects.resolve(completed, written)
        validation.validate(completed)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    if not written.dialect_resolved:  # a resolved one was reported when it was resolved
        ignored_fields.warn_about_ignored_fields(config, source)
        suspicious_values.warn_about_suspicious_values(completed, source)
    return completed


def read_with_problems(
    path: str | Path, overrides: Iterable[str] = ()
) -> tuple[pipeline_pb2.TrainEvalPipelineConfig, list[str]]:
    """Return a resolved configuration and all problems that its fields have in any job.

    Args:
        path: see `load`.
        overrides: see `load`.

    Raises:
        FileNotFoundError: the file does not exist.
        ConfigError: the text or an override cannot be read, or the model is of another kind.
    """
    config = _read(read_text(path), str(path))
    written = _copy(config)
    overrides_lib.apply(config, overrides)
    requested = _copy(config)
    validation.check_meta_architecture(config.model)
    dialects.resolve(config, written)
    ignored_fields.warn_about_ignored_fields(requested, str(path))
    problems = validation.find_model_problems(config)
    if config.HasField("train_config") or config.HasField("train_input_reader"):
        problems += validation.find_training_problems(config)
    if config.eval_input_reader:
        problems += validation.find_evaluation_problems(config)
    return config, problems + suspicious_values.find_suspicious_values(config)


def _read(text: str, source: str) -> pipeline_pb2.TrainEvalPipelineConfig:
    config = pipeline_pb2.TrainEvalPipelineConfig()
    proto_messages.parse_text(text, config, source)
    return config


def _copy(config: pipeline_pb2.TrainEvalPipelineConfig) -> pipeline_pb2.TrainEvalPipelineConfig:
    copy = pipeline_pb2.TrainEvalPipelineConfig()
    copy.CopyFrom(config)
    return copy


def to_text(config: pipeline_pb2.TrainEvalPipelineConfig) -> str:
    """Return the configuration as protobuf text."""
    return text_format.MessageToString(config)


def save(config: pipeline_pb2.TrainEvalPipelineConfig, path: str | Path) -> None:
    """Write `config` as text; create its directory and replace an existing file."""
    if output_paths.is_remote(path):
        output_paths.write_remote_text(os.fspath(path), to_text(config))
        return
    path = Path(path)
    output_paths.make_directory(path.parent)
    path.write_text(to_text(config), encoding="utf-8")


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the contents of a text file given by the user.

    Raises:
        FileNotFoundError: the file does not exist; the message suggests the nearest name in its
            directory, or names the missing directory.
        ConfigError: `path` is a directory or not a text file.
    """
    if output_paths.is_remote(path):
        return _read_remote_text(os.fspath(path))
    path = Path(path).expanduser()
    if path.is_dir():
        raise ConfigError(f"{path} is a directory; expected a file")
    if not path.exists():
        directory = path.parent
        if directory.is_dir():
            hint = suggestion(path.name, (entry.name for entry in directory.iterdir()))
        else:
            hint = f"; the directory {directory} does not exist either"
        raise FileNotFoundError(f"{path} does not exist{hint}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; expected protobuf text in UTF-8") from None


def _read_remote_text(path: str) -> str:
    """Return the contents of a text file on a file system that only TensorFlow can read."""
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file; expected protobuf text in UTF-8") from None
