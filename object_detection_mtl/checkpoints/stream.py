"""Checkpoints of a run as they appear, for an evaluator beside the training."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import tensorflow as tf

from object_detection_mtl.checkpoints.files import VALUE_SUFFIX, open_checkpoint

STEP_KEY = f"step{VALUE_SUFFIX}"


def new_checkpoints(directory: str, *, timeout: float, min_interval: float = 0.0) -> Iterator[str]:
    """The newest checkpoint that is there, then every new newest one; some may be skipped.

    Args:
        directory: of the run; it need not exist yet.
        timeout: seconds without a new checkpoint after which the stream ends.
        min_interval: seconds between two checkpoints, at least.

    Raises:
        FileNotFoundError: no checkpoint appeared at all.
    """
    found = False
    for prefix in tf.train.checkpoints_iterator(
        directory, min_interval_secs=min_interval, timeout=timeout
    ):
        found = True
        yield prefix
    if not found:
        raise FileNotFoundError(
            f"no checkpoint appeared in {directory!r} within {timeout:g} s; check "
            "--checkpoint_dir, or wait longer with --eval_timeout"
        )
    logging.getLogger(__name__).info("no new checkpoint in %s for %g s", directory, timeout)


def step_of(prefix: str) -> int:
    """Training steps behind a checkpoint; 0 if it does not say (an exported one)."""
    checkpoint = open_checkpoint(prefix)
    return int(checkpoint.read(STEP_KEY)) if STEP_KEY in checkpoint.shapes else 0
