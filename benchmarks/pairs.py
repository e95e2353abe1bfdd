"""Times of a baseline and the same model with tasks."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmarks import timing

BASELINE, TASKS = NAMES = ("baseline", "with tasks")


def products_of(name: str) -> str:
    """Name of a model's convolutions and matrix products."""
    return f"products of {name}"


def summary(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Milliseconds of both models and of their products, and the ratios.

    Args:
        seconds: of NAMES and of their `products_of`, round by round.
    """
    ratio = timing.median_ratio(seconds[TASKS], seconds[BASELINE])
    of_products = timing.median_ratio(seconds[products_of(TASKS)], seconds[products_of(BASELINE)])
    return {
        **{name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        "ratio": ratio,
        "ratio of products": of_products,
        "overhead": ratio / of_products,
    }
