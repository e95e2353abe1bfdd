"""Model files at a path: exports, checkpoints and their configurations."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

CONFIG_NAME = "pipeline.config"
LABEL_MAP_NAME = "label_map.pbtxt"
_SAVED_MODEL = "saved_model.pb"
_EXPORTED_FILES = ("model.onnx", "model.xml")


class ModelKind(enum.Enum):
    """Kind of a model's files."""

    SAVED_MODEL = "SavedModel"
    EXPORTED_FILE = "ONNX or OpenVINO model"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Attributes:
        kind: what is at `path`.
        path: the directory with saved_model.pb, the file model.onnx or model.xml, or the prefix of
            a checkpoint.
        config_path: its pipeline.config; None where there is none.
    """

    kind: ModelKind
    path: str
    config_path: Path | None

    @property
    def version(self) -> str:
        """Names, sizes and times of the files, which change with the content."""
        path = Path(self.path)
        if self.kind is ModelKind.CHECKPOINT:
            files = [Path(f"{path}.index"), *([self.config_path] if self.config_path else [])]
        elif self.kind is ModelKind.SAVED_MODEL:
            files = [path / _SAVED_MODEL, *sorted(path.glob("variables/*"))]
        else:
            files = [path]
        parts = []
        for file in files:
            if file.exists():
                state = file.stat()
                parts.append(f"{file.absolute()} {state.st_size} {state.st_mtime_ns}")
        return "; ".join(parts)


def find_exported_model(path: str | os.PathLike[str]) -> ModelFiles | None:
    """Return the exported model at a path; None if there is none.

    Args:
        path: an export (a directory with saved_model/, saved_model.pb, model.onnx or model.xml), or
            one of these files.
    """
    place = Path(path).expanduser()
    if place.name == _SAVED_MODEL and place.is_file():
        place = place.parent
    if place.suffix in (".onnx", ".xml") and place.is_file():
        return ModelFiles(ModelKind.EXPORTED_FILE, str(place), _config_in(place.parent))
    for directory in (place, place / "saved_model"):
        if (directory / _SAVED_MODEL).is_file():
            config_path = _config_in(directory.absolute().parent)
            return ModelFiles(ModelKind.SAVED_MODEL, str(directory), config_path)
    for name in _EXPORTED_FILES:
        if (place / name).is_file():
            return ModelFiles(ModelKind.EXPORTED_FILE, str(place / name), _config_in(place))
    return None


def exported_files_in(directory: Path) -> list[str]:
    """Return the model.xml and model.onnx in a directory."""
    paths = [directory / name for name in _EXPORTED_FILES]
    return [str(path) for path in paths if path.is_file()]


def find_exported_files(path: str | os.PathLike[str]) -> list[str]:
    """Return the model.xml and model.onnx that a path means: a file, or those in a directory.

    Raises:
        FileNotFoundError: there is none.
    """
    place = Path(path).expanduser()
    if place.suffix in (".onnx", ".xml") and place.is_file():
        return [str(place)]
    found = exported_files_in(place)
    if not found:
        raise FileNotFoundError(
            f"no model.xml or model.onnx at {os.fspath(path)!r}; export one with exporter_main_v2 "
            "--format=openvino or --format=onnx"
        )
    return found


def find_checkpoint(path: str | os.PathLike[str]) -> ModelFiles:
    """Return the checkpoint that a path means.

    Args:
        path: a prefix such as run/ckpt-7, or a directory, which means its newest checkpoint.

    Raises:
        FileNotFoundError, ValueError: see `checkpoint_search.resolve_checkpoint`.
    """
    from object_detection_mtl.checkpoints import checkpoint_search

    prefix = checkpoint_search.resolve_checkpoint(path)
    directory = Path(prefix).absolute().parent
    # Exports and best checkpoints are in a subdirectory of the directory with the configuration.
    return ModelFiles(
        ModelKind.CHECKPOINT, prefix, _config_in(directory) or _config_in(directory.parent)
    )


def find_config(checkpoint: str | os.PathLike[str]) -> Path:
    """Return the configuration beside checkpoints that may not exist yet.

    Args:
        checkpoint: directory of a training, or the prefix of a checkpoint.

    Raises:
        FileNotFoundError: there is none.
    """
    place = Path(checkpoint).absolute()
    for directory in (place, place.parent, place.parent.parent):
        if found := _config_in(directory):
            return found
    raise FileNotFoundError(
        f"no {CONFIG_NAME} beside {os.fspath(checkpoint)!r}, which a training writes when it "
        "starts; check the path, or give config=..., the configuration of the training"
    )


def _config_in(directory: Path) -> Path | None:
    path = directory / CONFIG_NAME
    return path if path.is_file() else None
