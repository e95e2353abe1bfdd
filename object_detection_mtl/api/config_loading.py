"""Configurations by the name of a sample or by path, with settings as keywords."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_detection_mtl.config import pipeline, samples
from object_detection_mtl.config.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

_RESIZER = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
# Keyword of `load_config` -> the fields that it sets.
SETTINGS: dict[str, tuple[str, ...]] = {
    "num_classes": ("model.faster_rcnn.num_classes",),
    "min_dimension": (f"{_RESIZER}.min_dimension",),
    "max_dimension": (f"{_RESIZER}.max_dimension",),
    "batch_size": ("train_config.batch_size",),
    "num_steps": ("train_config.num_steps",),
    "seed": ("train_config.seed",),
    "fine_tune_checkpoint": ("train_config.fine_tune_checkpoint",),
    "train_records": ("train_input_reader.tf_record_input_reader.input_path",),
    "validation_records": ("eval_input_reader[0].tf_record_input_reader.input_path",),
    "label_map": ("train_input_reader.label_map_path", "eval_input_reader[0].label_map_path"),
}
_SUFFIX = ".config"


def load_config(
    source: str | os.PathLike[str], overrides: Iterable[str] = (), **settings: Any
) -> TrainEvalPipelineConfig:
    """Return the configuration of a sample or a file, with some of its fields changed.

    Args:
        source: path of a pipeline.config, or the name of a sample configuration such as
            "faster_rcnn_mobilenet_v1_mtl_voc07". The samples are in `samples/configs`.
        overrides: texts `a.b.c=value`, as the flag --override of the commands takes them.
        **settings: num_classes, min_dimension and max_dimension (the sides in pixels to which
            images are resized), batch_size, num_steps, seed, fine_tune_checkpoint (None: random
            first weights), train_records, validation_records, label_map (paths). Fields without
            a keyword are given by path: `**{"train_config.batch_size": 4}`.

    Returns:
        The configuration: a protobuf message, complete and validated.

    Raises:
        FileNotFoundError: there is no such sample or file; the message suggests the nearest name.
        ConfigError: (a ValueError) a setting, an override or a value is wrong.

    Example:
        >>> import object_detection_mtl as odm
        >>> config = odm.load_config(
        ...     "faster_rcnn_mobilenet_v1_mtl_voc07", ["model.mtl.num_windows=16"], num_classes=3)
        >>> config.model.faster_rcnn.num_classes, config.model.mtl.num_windows
        (3, 16)
    """
    texts = [overrides] if isinstance(overrides, str) else list(overrides)
    return pipeline.load(_find_config(source), [*setting_overrides(settings), *texts])


def as_config(
    config: TrainEvalPipelineConfig | str | os.PathLike[str],
) -> TrainEvalPipelineConfig:
    """Return a configuration as it is, or the one that a name or path means.

    Raises:
        ValueError: it is neither.
        FileNotFoundError: see `load_config`.
    """
    if isinstance(config, str | os.PathLike):
        return load_config(config)
    if not hasattr(config, "train_config"):
        raise ValueError(
            f"config has the type {type(config).__name__}; expected the result of load_config, or "
            "the name or path of a configuration"
        )
    return config


def setting_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Return the overrides that keywords mean.

    Raises:
        ConfigError: a keyword is unknown.
    """
    texts = []
    for name, value in settings.items():
        if name not in SETTINGS and "." not in name:
            hint = suggestion(name, SETTINGS) or f"; expected one of {', '.join(SETTINGS)}"
            raise ConfigError(
                f'setting "{name}" is unknown{hint} Other fields are given by their path, such as '
                '**{"train_config.batch_size": 4}'
            )
        texts += [f"{path}={_to_text(value)}" for path in SETTINGS.get(name, (name,))]
    return texts


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        quoted = [f'"{item}"' if isinstance(item, str | Path) else _to_text(item) for item in value]
        return f"[{', '.join(quoted)}]"
    return str(value)


def _find_config(source: str | os.PathLike[str]) -> Path:
    """Return the path of a file, or of the sample of this name."""
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"source has the type {type(source).__name__}; expected the path of a pipeline.config "
            "or the name of a sample configuration"
        )
    path = Path(source).expanduser()
    if path.is_file():
        return path
    known = {name.removesuffix(_SUFFIX): file for name, file in samples.configs().items()}
    name = os.fspath(source).removesuffix(_SUFFIX)
    if name in known:
        return known[name]
    if path.parent != Path() or path.is_dir():
        return path  # `pipeline.load` explains what is wrong with it.
    hint = suggestion(name, known) or f"; the samples are {', '.join(known)}"
    raise FileNotFoundError(
        f"configuration {os.fspath(source)!r} is neither a file nor a sample{hint}"
    )
