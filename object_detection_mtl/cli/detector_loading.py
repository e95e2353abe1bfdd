"""Detectors from a path: an export or the directory of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.api import model_search


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
    files = model_search.find_exported_model(path)
    if files is None:
        if not (Path(path) / model_search.CONFIG_NAME).is_file():
            return None
        files = model_search.find_checkpoint(path)

    def load() -> Any:
        from object_detection_mtl.api import model_loading

        # Only the engine "auto" reads the first image.
        return model_loading.load_detector(path).predictor(lambda: [np.zeros((1, 1, 3), np.uint8)])

    return LoadableModel(load, files.version)
