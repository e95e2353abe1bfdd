"""Lock of an output: one process writes to it at a time.

On a local file system the lock is an advisory lock of the operating system, which ends with the
process. Elsewhere (gs:// and file systems without such locks) it is a lease: a file with host,
process and time, renewed while the process lives and stale after two minutes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

STALE_SECONDS = 120.0
RENEWAL_SECONDS = 30.0
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class OutputInUseError(ValueError):
    """Another live process writes to the same output."""


@contextlib.contextmanager
def hold_lock(lock_path: str | os.PathLike[str], output: str) -> Iterator[None]:
    """Hold the lock of an output within a `with` block.

    Args:
        lock_path: the lock file; its directory exists. It is removed at the end.
        output: names the output in the message, such as "--model_dir run".

    Raises:
        OutputInUseError: another live process holds the lock; the message names it.
        OSError: the lock file cannot be written.
    """
    path = os.fspath(lock_path)
    if "://" in path:
        with hold_lease(path, output):
            yield
        return
    try:
        file = _lock_local(path, output)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        file = None
    if file is None:
        with hold_lease(path, output):
            yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.remove(path)
        os.close(file)


def _lock_local(path: str, output: str) -> int:
    """Return the descriptor of the locked file."""
    import fcntl

    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that held the lock may have removed the file meanwhile.
            is_current = os.path.exists(path) and os.path.samestat(os.fstat(file), os.stat(path))
            if is_current:
                os.ftruncate(file, 0)
                os.write(file, json.dumps(_owner()).encode())
                return file
        except BlockingIOError as error:
            owner = _parsed(os.pread(file, 4096, 0))
            os.close(file)
            raise _in_use(output, owner, path) from error
        except BaseException:
            os.close(file)
            raise
        os.close(file)


@contextlib.contextmanager
def hold_lease(path: str, output: str, *, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Hold a lease file within a `with` block; see `hold_lock`.

    Args:
        path: the lease file, on any file system of TensorFlow.
        output: names the output in the message.
        clock: seconds since 1970.

    Raises:
        OutputInUseError: a lease that is not stale exists.
    """
    import tensorflow as tf

    def read() -> dict[str, Any]:
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                return _parsed(file.read())
        except tf.errors.OpError:
            return {}

    def write() -> None:
        with tf.io.gfile.GFile(path, "w") as file:
            file.write(json.dumps({**owner, "time": clock()}))

    existing = read()
    if existing and clock() - _time_of(existing) < STALE_SECONDS:
        raise _in_use(output, existing, path)
    owner = {**_owner(), "lease": uuid.uuid4().hex}
    write()
    # Two processes may both have seen no lease; the one that wrote last holds it.
    found = read()
    if found.get("lease") != owner["lease"]:
        raise _in_use(output, found, path)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(RENEWAL_SECONDS):
            with contextlib.suppress(tf.errors.OpError):
                write()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if read().get("lease") == owner["lease"]:
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.remove(path)


def beside(path: str | os.PathLike[str]) -> Path:
    """Return the lock file of an output file or directory: a hidden file beside it."""
    path = Path(path)
    return path.parent / f".{path.name}.lock"


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}


def _time_of(lease: Mapping[str, Any]) -> float:
    """Return the time of a lease; 0, which is stale, if it is no number."""
    value = lease.get("time")
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0.0


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        owner = json.loads(data)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _in_use(output: str, owner: Mapping[str, Any], path: str) -> OutputInUseError:
    who = "another process"
    if "pid" in owner:
        who = f"process {owner['pid']} on {owner.get('host', 'an unknown host')}"
    return OutputInUseError(
        f"{output} is in use: {who} writes to it (its lock is {path}). Wait until it ends, stop "
        "it, or choose another output"
    )
