"""Checkpoints of a run as they appear, for an evaluator beside the training."""

from __future__ import annotations

import time
from collections.abc import Iterator

import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_contents
from object_detection_mtl.checkpoints.checkpoint_files import open_checkpoint


def new_checkpoints(directory: str, *, timeout: float, min_interval: float = 0.0) -> Iterator[str]:
    """The newest checkpoint that is there, then every new newest one; some may be skipped.

    Args:
        directory: of the run; it need not exist yet.
        timeout: seconds without a new checkpoint after which the stream ends, however long
            `min_interval` is.
        min_interval: seconds between two checkpoints, at least.

    Raises:
        FileNotFoundError: no checkpoint appeared at all.
    """
    yielded: str | None = None
    earliest = 0.0
    for found in tf.train.checkpoints_iterator(directory, timeout=timeout):
        # What came after a pause is newer than `found`, and will be found itself once more.
        newest = _newest_after(earliest - time.monotonic(), directory) or found
        if newest == yielded:
            continue
        yielded, earliest = newest, time.monotonic() + min_interval
        yield newest
    if yielded is None:
        raise FileNotFoundError(
            f"no checkpoint appeared in {directory!r} within {timeout:g} s; check "
            "--checkpoint_dir, or wait longer with --eval_timeout"
        )


def _newest_after(seconds: float, directory: str) -> str | None:
    if seconds <= 0:
        return None
    time.sleep(seconds)
    return tf.train.latest_checkpoint(directory)


def step_of(prefix: str) -> int:
    """Training steps behind a checkpoint; 0 if it does not say (an exported one)."""
    return checkpoint_contents.global_step_of(open_checkpoint(prefix)) or 0
