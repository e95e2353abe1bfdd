"""Detectors from a path: an export or the directory of a training run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoadableModel:
    """A detector that can be loaded.

    Attributes:
        load: returns the predictor; an image [H, W, 3] uint8 -> its detections.
        version: identifies the content.
    """

    load: Callable[[], Any]
    version: str


def find_model(path: str) -> LoadableModel | None:
    """Return the model at a path; None where a path has no model, such as a file of detections.

    Args:
        path: an export (a directory with saved_model or saved_model.pb, a file model.onnx or
            model.xml, or a directory with one), or a training run (a directory with
            pipeline.config and checkpoints).

    Raises:
        FileNotFoundError: a training run without checkpoint.
    """
    place = Path(path)
    if place.suffix in (".onnx", ".xml") and place.is_file():
        return _exported_model(place)
    if not place.is_dir():
        return None
    for directory in (place, place / "saved_model"):
        if (directory / "saved_model.pb").is_file():
            return _saved_model(directory)
    for name in ("model.onnx", "model.xml"):
        if (place / name).is_file():
            return _exported_model(place / name)
    if (place / "pipeline.config").is_file():
        return _run(place)
    return None


def _saved_model(directory: Path) -> LoadableModel:
    def load() -> Any:
        from object_detection_mtl.inference import predictor

        return predictor.from_saved_model(str(directory))

    weights = sorted(directory.glob("variables/*"))
    return LoadableModel(load, _version(directory / "saved_model.pb", *weights))


def _exported_model(path: Path) -> LoadableModel:
    def load() -> Any:
        from object_detection_mtl.inference import runtime_predictor

        return runtime_predictor.from_exported_model(str(path))

    return LoadableModel(load, _version(path))


def _run(directory: Path) -> LoadableModel:
    from object_detection_mtl.checkpoints import checkpoint_search

    prefix = checkpoint_search.resolve_checkpoint(str(directory))

    def load(config_path: Path) -> Any:
        from object_detection_mtl import jobs
        from object_detection_mtl.config import pipeline

        return jobs.load_predictor(pipeline.to_text(pipeline.load(config_path)), prefix)

    config_path = directory / "pipeline.config"
    version = _version(config_path, Path(f"{prefix}.index"))
    return LoadableModel(functools.partial(load, config_path), version)


def _version(*paths: Path) -> str:
    """Return names, sizes and times of files."""
    parts = []
    for path in paths:
        state = path.stat()
        parts.append(f"{path.absolute()} {state.st_size} {state.st_mtime_ns}")
    return "; ".join(parts)
