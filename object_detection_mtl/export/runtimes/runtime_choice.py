"""The fastest engine that finds what TensorFlow finds, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from object_detection_mtl.export.runtimes import equality
from object_detection_mtl.export.runtimes.runtime_models import TENSORFLOW, Arrays

AUTO = "auto"
_ROUNDS = 3

# Inputs by name -> outputs by name.
Run = Callable[[Mapping[str, np.ndarray]], Arrays]


@dataclass
class Choice:
    """What was chosen.

    Attributes:
        engine: its name.
        seconds: engine -> its quickest call.
        left_out: engine -> why it could not be chosen.
    """

    engine: str
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """In one line."""
        times = sorted(self.seconds.items(), key=lambda item: item[1])
        parts = [", ".join(f"{engine} {seconds:.3f} s" for engine, seconds in times)]
        parts += [f"{engine} left out, {reason}" for engine, reason in self.left_out.items()]
        return (
            f"engine {self.engine}: the fastest here of those that find what TensorFlow finds "
            f"({'; '.join(parts)})"
        )


def choose(
    tensorflow: Run, makers: Mapping[str, Callable[[], Run]], sample: Mapping[str, np.ndarray]
) -> tuple[Choice, Run]:
    """Tries all engines on one sample.

    Args:
        tensorflow: the reference.
        makers: engine -> what makes it run the model; raises ValueError where it cannot.
        sample: inputs, of a real picture.
    """
    expected = tensorflow(sample)
    runs = {TENSORFLOW: tensorflow}
    choice = Choice(TENSORFLOW)
    for engine, make in makers.items():
        try:
            run = make()
            reason = equality.why_different(run(sample), expected)
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
        if reason:
            choice.left_out[engine] = reason
        else:
            runs[engine] = run
    times: dict[str, list[float]] = {engine: [] for engine in runs}
    for _ in range(_ROUNDS):  # in turn, so that what else the machine does meets all of them
        for engine, run in runs.items():
            start = time.perf_counter()
            run(sample)
            times[engine].append(time.perf_counter() - start)
    choice.seconds = {engine: min(values) for engine, values in times.items()}
    choice.engine = min(choice.seconds, key=lambda engine: choice.seconds[engine])
    return choice, runs[choice.engine]
