"""Boxes with COCO's sizes, most of them small, and its skew: a third of them is of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def draw(number: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes [N, 4] float32, normalized, and classes [N] int32."""
    import numpy as np

    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(0.02), np.log(0.8), [number, 2]))
    low = rng.uniform(0.0, 1.0 - sides)
    classes = rng.integers(2, num_classes + 1, number)
    classes[: number // 3] = 1
    return np.concatenate([low, low + sides], axis=1).astype(np.float32), classes.astype(np.int32)
