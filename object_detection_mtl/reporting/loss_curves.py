"""Curves of the training losses, read from the events of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from object_detection_mtl.training import summary_names

_PREFIX = "Loss/"
_AUXILIARY = f"{_PREFIX}MTL/"
DETECTOR = "Losses of the detector"
AUXILIARY_TASKS = "Losses of the auxiliary tasks"
TOTAL = "Total loss"


class LossCurve(NamedTuple):
    """One loss over the steps; both arrays are [N]."""

    steps: np.ndarray
    values: np.ndarray


def read_loss_curves(directory: str | Path) -> dict[str, dict[str, LossCurve]]:
    """Return the weighted losses that a run has logged.

    Args:
        directory: directory of the events, `train` in the directory of the run. Where a resumed run
            has logged a step again, the later value counts.

    Returns:
        Title of a chart -> name of a loss -> its curve. Empty if there are no events.
    """
    # By the time of each event: the names of two files of the same second do not sort by age.
    scalars = [
        scalar
        for path in Path(directory).glob("events.out.tfevents.*")
        for scalar in _scalars(path)
    ]
    values: dict[str, dict[int, float]] = {}
    for _, tag, step, value in sorted(scalars):
        values.setdefault(tag, {})[step] = value
    groups: dict[str, dict[str, LossCurve]] = {}
    for tag, by_step in values.items():
        title, name = _chart_of(tag)
        steps = np.array(sorted(by_step))
        curve = LossCurve(steps, np.array([by_step[step] for step in steps]))
        groups.setdefault(title, {})[name] = curve
    return {title: groups[title] for title in (TOTAL, DETECTOR, AUXILIARY_TASKS) if title in groups}


def _scalars(path: Path) -> Iterator[tuple[float, str, int, float]]:
    """Yield (seconds, tag, step, value) of the losses in a file; a truncated file ends early."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.tag.startswith(_PREFIX) and value.HasField("tensor"):
                number: Any = tensor_util.make_ndarray(value.tensor)
                if number.ndim == 0:
                    yield event.wall_time, value.tag, event.step, float(number)


def _chart_of(tag: str) -> tuple[str, str]:
    """Return the chart and the name of a loss: `Loss/MTL/window_class_loss` -> window class."""
    if tag == summary_names.TOTAL:
        return TOTAL, "total"
    title = AUXILIARY_TASKS if tag.startswith(_AUXILIARY) else DETECTOR
    name = tag.removeprefix(_AUXILIARY).removeprefix(_PREFIX)
    words = name.replace("RPNLoss/", "proposals: ").replace("BoxClassifierLoss/", "boxes: ")
    return title, words.removesuffix("_loss").replace("_", " ")
