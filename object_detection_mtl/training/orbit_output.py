"""Orbit's summaries under the OD API's names; its printed lines are silenced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import orbit
import tensorflow as tf

from object_detection_mtl.training import summary_names


class OrbitSummaries(orbit.utils.SummaryManager):
    """Writes Orbit's scalars under the OD API's names."""

    def __init__(self, directory: str | None, step: tf.Variable) -> None:
        super().__init__(directory, _write_summary, step)

    def write_summaries(self, summary_dict: Mapping[str, Any]) -> None:
        """Write scalars and images."""
        renamed = {"steps_per_second": summary_names.STEPS_PER_SECOND}
        super().write_summaries(
            {renamed.get(name, name): value for name, value in summary_dict.items()}
        )


def _write_summary(name: str, value: Any, step: tf.Variable) -> None:
    if getattr(value, "ndim", 0) == 4:
        tf.summary.image(name, value, step=step)
    else:
        tf.summary.scalar(name, value, step=step)


@contextlib.contextmanager
def silence_orbit() -> Iterator[None]:
    """Silence Orbit, which prints a dictionary for each block; the progress line is shorter."""
    module = orbit.controller
    module.print = lambda *_, **__: None
    try:
        yield
    finally:
        del module.print
