"""Names of an experiment's files, locks, and files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Of an evaluation.
OUTPUT = "evaluation.json"
GROUNDTRUTH = "groundtruth.npz"


def detections_file(source: str) -> str:
    """Return the name of an evaluation's file with the detections by where they come from."""
    return f"detections_{source.replace(' ', '_')}.npz"


class LockedError(Exception):
    """Another process holds the lock; the message names it."""


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[int]:
    """Hold the lock of a file, which has the process's id as content.

    The kernel releases the lock when the last process that has the file open ends, so a killed
    process leaves none behind. A child process that is given the descriptor (`pass_fds`) keeps the
    lock even if its parent is killed.

    Args:
        path: of the lock file, which stays.
        wait: until the lock is free.

    Yields:
        The descriptor.

    Raises:
        LockedError: another process holds the lock, and `wait` is false.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            owner = path.read_text().strip() or "unknown"
            raise LockedError(f"{path} is held by process {owner}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")
    temporary.replace(path)


def read_json(path: Path, default: Any = None) -> Any:
    """Return a JSON file's content, or `default` if there is no file."""
    return json.loads(path.read_text()) if path.exists() else default
