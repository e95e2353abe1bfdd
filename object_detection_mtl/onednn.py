"""Which kernels TensorFlow convolves with: oneDNN's, or its own.

TensorFlow takes oneDNN's only on processors that have instructions for neural networks. On others
they are no faster for the map of a whole picture, and MobileNet's fused ReLU6 is slower; but the
gradients of convolutions on many small crops take about half the time. docs/results.md has the
numbers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SETTING = "TF_ENABLE_ONEDNN_OPTS"
_PROCESSOR = Path("/proc/cpuinfo")
# Without it oneDNN has no fast gradients.
_REQUIRED = "avx2"


def use() -> bool:
    """Has TensorFlow use oneDNN, for the life of this process; for programs that own theirs.

    To be called before TensorFlow is imported, which reads the setting once. Whoever has set the
    environment variable TF_ENABLE_ONEDNN_OPTS has decided, and it holds.

    Returns:
        Whether it was done: on Linux, on x86 processors with AVX2, which were measured.
    """
    if SETTING in os.environ or "tensorflow" in sys.modules or not _has(_REQUIRED):
        return False
    os.environ[SETTING] = "1"
    return True


def _has(feature: str) -> bool:
    """Whether the processor says so; False where it does not tell in the way of Linux on x86."""
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(feature in line.split() for line in lines if line.startswith("flags"))
