"""Timing functions turn by turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

# `process_time` is the processor's time in all threads, which other processes disturb less.
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
Name = TypeVar("Name", bound=Hashable)


def interleaved_seconds(
    functions: Mapping[Name, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, list[float]]:
    """Seconds of every call, `rounds` per function, taken in turn after `warmup` rounds.

    The clock is one of CLOCKS.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for round_index in range(warmup + rounds):
        for name, function in functions.items():
            start = clock()
            function()
            if round_index >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Median of the ratios taken round by round."""
    return statistics.median(n / d for n, d in zip(numerators, denominators, strict=True))


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
