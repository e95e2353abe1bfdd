"""Where an evaluation's numbers go: TensorBoard and a JSON file, in one directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.evaluation import report


class EvaluationWriter:
    """Writes `<model_dir>/eval/<name>`: events, and `metrics-<step>.json` per evaluation."""

    def __init__(self, model_dir: str | os.PathLike[str], name: str) -> None:
        """Args:
        model_dir: of the run.
        name: of the evaluated input reader; may be empty.
        """
        self.directory = os.path.join(os.fspath(model_dir), "eval", name).rstrip(os.sep)
        self._writer = tf.summary.create_file_writer(self.directory)

    def write(
        self,
        step: int,
        metrics: Mapping[str, float],
        pictures: Iterable[tuple[str, np.ndarray]] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Writes one evaluation; returns the JSON file's path.

        Args:
            step: training steps behind the weights.
            metrics: TensorBoard name -> value.
            pictures: (TensorBoard name, picture [h, w, 3] uint8).
            extra: further entries of the JSON file.
        """
        with self._writer.as_default(step=step):
            for tag, value in metrics.items():
                tf.summary.scalar(tag, value)
            for tag, picture in pictures:
                tf.summary.image(tag, picture[np.newaxis])
        self._writer.flush()
        path = os.path.join(self.directory, f"metrics-{step}.json")
        report.write_json(path, metrics, {"step": step, **(extra or {})})
        return path

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()
