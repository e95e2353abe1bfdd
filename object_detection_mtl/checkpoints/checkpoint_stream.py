"""New checkpoints of a run, for evaluation in parallel with training."""

from __future__ import annotations

import time
from collections.abc import Iterator

import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_search
from object_detection_mtl.checkpoints.checkpoint_search import FAIL, FALLBACK, Verified

SECONDS_BETWEEN_LOOKS = 1.0


def new_checkpoints(
    directory: str, *, timeout: float, min_interval: float = 0.0, on_damaged: str = FALLBACK
) -> Iterator[str]:
    """Yield the newest complete checkpoint, then every new newest one; some may be skipped.

    Args:
        directory: directory of the run; it need not exist yet.
        timeout: seconds without a new checkpoint after which the stream ends, however long
            `min_interval` is.
        min_interval: seconds between two checkpoints, at least.
        on_damaged: one of `checkpoint_search.ON_DAMAGED`.

    Raises:
        FileNotFoundError: no checkpoint appeared at all.
        ValueError: the newest is corrupt and `on_damaged` is FAIL.
    """
    verified: Verified = {}
    yielded: tuple[str, int] | None = None
    earliest = 0.0
    deadline = time.monotonic() + timeout
    while True:
        newest = _newest(directory, on_damaged, verified)
        if newest is not None and newest != yielded:
            pause = earliest - time.monotonic()
            if pause > 0:
                time.sleep(pause)  # A newer one may come meanwhile.
                continue
            yielded, earliest = newest, time.monotonic() + min_interval
            yield newest[0]
            deadline = time.monotonic() + timeout
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(SECONDS_BETWEEN_LOOKS, left))
    if yielded is None:
        raise FileNotFoundError(
            f"no complete checkpoint appeared in {directory!r} within {timeout:g} s; check "
            "--checkpoint_dir, or wait longer with --eval_timeout"
        )


def _newest(directory: str, on_damaged: str, verified: Verified) -> tuple[str, int] | None:
    """Return the newest complete checkpoint and the time of its index."""
    try:
        found = checkpoint_search.find_newest(directory, on_damaged=on_damaged, verified=verified)
        if found is None:
            return None
        return found.prefix, tf.io.gfile.stat(f"{found.prefix}.index").mtime_nsec
    except (FileNotFoundError, ValueError, tf.errors.NotFoundError):
        if on_damaged == FAIL:
            raise
        return None  # Training may remove old checkpoints meanwhile, and write the next one.
