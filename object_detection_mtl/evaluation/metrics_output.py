"""Metrics of an evaluation as a text table, a JSON file and TensorBoard events."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import output_paths

# '<prefix>_PerformanceByCategory/<metric>/<class>', 'DetectionBoxes_<metric> ByCategory/<class>',
# 'ErrorAnalysis_ByCategory/<metric>/<class>'. A class name may itself hold slashes.
_BY_CATEGORY = (
    re.compile(r"(?P<group>(?:\w+_)?PerformanceByCategory)/(?P<metric>[^/]+)/(?P<name>.+)"),
    re.compile(r"(?P<group>DetectionBoxes)_(?P<metric>[^/]+) ByCategory/(?P<name>.+)"),
    re.compile(r"(?P<group>ErrorAnalysis)_ByCategory/(?P<metric>[^/]+)/(?P<name>.+)"),
)


def _split(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, dict]]:
    """Return summary metrics by name; and group -> class name -> metric -> value."""
    summary: dict[str, float] = {}
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in metrics.items():
        match = next(filter(None, (pattern.fullmatch(name) for pattern in _BY_CATEGORY)), None)
        if match is None:
            summary[name] = value
        else:
            table = tables.setdefault(match["group"], {})
            table.setdefault(match["name"], {})[match["metric"]] = value
    return summary, tables


def _format_value(value: float, counts: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if counts else f"{value:.4f}"


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_table(metrics: Mapping[str, float], *, title: str = "") -> str:
    """Return the metrics as text: summary metrics, then one table of classes for each group.

    NaN, the metric of a class without objects, is shown as "-".

    Args:
        metrics: name -> value.
        title: first line of the text.
    """
    summary, tables = _split(metrics)
    lines = [title, "=" * len(title)] if title else []
    if summary:
        rows = [[k, _format_value(v, k.startswith("ErrorAnalysis"))] for k, v in summary.items()]
        lines += _columns(rows)
    for group, classes in tables.items():
        names = list(dict.fromkeys(metric for values in classes.values() for metric in values))
        rows = [[group, *names]]
        for name, values in classes.items():
            counts = group == "ErrorAnalysis"
            rows.append([name, *(_format_value(values.get(m, math.nan), counts) for m in names)])
        lines += ["", *_columns(rows)]
    return "\n".join(lines) + "\n"


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics with None for NaN and infinity."""
    return {k: float(v) if math.isfinite(v) else None for k, v in metrics.items()}


def write_json(
    path: str | os.PathLike, metrics: Mapping[str, float], extra: Mapping[str, Any] | None = None
) -> None:
    """Write `{..extra, "metrics": {name: value}}` to `path`, NaN as null.

    Missing directories are created. The file appears complete: it is written under a temporary
    name and then renamed.
    """
    values = _finite(metrics)
    path = os.fspath(path)
    if output_paths.is_remote(path):
        content = json.dumps({**(extra or {}), "metrics": values}, indent=2, ensure_ascii=False)
        output_paths.write_remote_text(path, content + "\n")
        return
    output_paths.make_directory(os.path.dirname(path))
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({**(extra or {}), "metrics": values}, file, indent=2, ensure_ascii=False)
        file.write("\n")
    os.replace(temporary, path)


def _open_to_append(path: str) -> Any:
    if output_paths.is_remote(path):
        return tf.io.gfile.GFile(path, "a")
    return open(path, "a", encoding="utf-8")


@dataclass(frozen=True)
class PrecisionRecallCounts:
    """A precision-recall curve as counts at evenly spaced score thresholds from 0 to 1.

    Attributes:
        hits, false_positives, missed: [T].
    """

    hits: np.ndarray
    false_positives: np.ndarray
    missed: np.ndarray


class EvaluationWriter:
    """Writer of `<model_dir>/eval/<name>`: events, and metrics as JSON.

    `metrics-<step>.json` holds one evaluation, `metrics.jsonl` a line for each.

    Args:
        model_dir: directory of the run.
        name: name of the evaluated input reader; may be empty.
    """

    def __init__(self, model_dir: str | os.PathLike[str], name: str) -> None:
        self.directory = os.path.join(os.fspath(model_dir), "eval", name).rstrip(os.sep)
        self._writer = tf.summary.create_file_writer(self.directory)

    def write(
        self,
        step: int,
        metrics: Mapping[str, float],
        images: Iterable[tuple[str, np.ndarray]] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Write one evaluation; return the JSON file's path.

        Args:
            step: global step of the checkpoint.
            metrics: TensorBoard name -> value.
            images: (TensorBoard name, image [h, w, 3] uint8).
            extra: further entries of the JSON file.
        """
        with self._writer.as_default(step=step):
            for tag, value in metrics.items():
                tf.summary.scalar(tag, value)
            for tag, image in images:
                tf.summary.image(tag, image[np.newaxis])
        self._writer.flush()
        path = os.path.join(self.directory, f"metrics-{step}.json")
        entries = {"step": step, **(extra or {})}
        write_json(path, metrics, entries)
        line = json.dumps({**entries, "metrics": _finite(metrics)}, ensure_ascii=False)
        with _open_to_append(os.path.join(self.directory, "metrics.jsonl")) as file:
            file.write(f"{line}\n")
        return path

    def write_curves(self, step: int, curves: Mapping[str, PrecisionRecallCounts]) -> None:
        """Write precision-recall curves for TensorBoard's dashboard of them.

        Args:
            step: global step of the checkpoint.
            curves: class name -> curve at IoU 0.5.
        """
        from tensorboard.plugins.pr_curve import summary

        with self._writer.as_default(step=step):
            for name, counts in curves.items():
                found = counts.hits + counts.false_positives
                objects = counts.hits + counts.missed
                ones = np.ones(len(found))
                curve = summary.raw_data_pb(
                    f"PrecisionRecall@0.5IOU/{name}",
                    true_positive_counts=counts.hits,
                    false_positive_counts=counts.false_positives,
                    true_negative_counts=np.zeros(len(found)),
                    false_negative_counts=counts.missed,
                    precision=np.divide(counts.hits, found, out=ones, where=found > 0),
                    recall=np.divide(counts.hits, objects, out=0 * ones, where=objects > 0),
                    num_thresholds=len(found),
                )
                tf.summary.experimental.write_raw_pb(curve.SerializeToString(), step=step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
