"""Directory of a run: checks before training, repair after a killed run."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.checkpoint.checkpoint_management import update_checkpoint_state_internal

from object_detection_mtl import output_lock
from object_detection_mtl.checkpoints import checkpoint_files, checkpoint_search
from object_detection_mtl.checkpoints.checkpoint_search import NewestCheckpoint

# Subdirectory for unreadable checkpoints.
DAMAGED = "damaged_checkpoints"
LOCK = ".training.lock"
# TensorFlow's temporary names of a checkpoint's data, of the state file and of an index.
_LEFTOVERS = re.compile(r".+-\d+_temp$|checkpoint\.tmp[0-9a-f]+$|.+\.tempstate\d+$")
_DATA = re.compile(r"(?P<name>.+-\d+)\.data-\d{5}-of-\d{5}$")


def require_writable(model_dir: str) -> None:
    """Refuse a directory that is not writable or no directory of a run; leave no file in it.

    Raises:
        ValueError: it is an export, read-only, a file, or cannot be created.
    """
    inner = os.path.join(model_dir, checkpoint_search.SUBDIRECTORY)
    if tf.io.gfile.isdir(inner):
        raise ValueError(
            f"model_dir {model_dir!r} is an export or a downloaded model, its checkpoint is in "
            f"{inner!r}; give another --model_dir, and this one as fine_tune_checkpoint to start "
            "with its weights"
        )
    existing = model_dir
    while existing and not tf.io.gfile.exists(existing) and "://" not in existing:
        existing = os.path.dirname(existing.rstrip("/"))
    probe = os.path.join(existing, f".write_test_{uuid.uuid4().hex}")
    try:
        if existing and not tf.io.gfile.isdir(existing) and "://" not in existing:
            raise ValueError(f"{existing!r} is a file")
        with tf.io.gfile.GFile(probe, "w") as file:
            file.write("")
        tf.io.gfile.remove(probe)
    except (tf.errors.OpError, OSError, ValueError) as error:
        raise ValueError(
            f"model_dir {model_dir!r} cannot be written to ({_first_line(error)}); give a "
            "--model_dir on a file system that this user may write to"
        ) from error


@contextlib.contextmanager
def lock_run(model_dir: str, *, is_chief: bool) -> Iterator[None]:
    """Hold the lock of a run's directory; a directory that is made and stays empty is removed.

    Args:
        model_dir: directory of the run.
        is_chief: whether this process writes checkpoints. Other workers of a cluster hold no lock.

    Raises:
        OutputInUseError: another training writes to the directory.
    """
    if not is_chief:
        yield
        return
    is_new = not tf.io.gfile.exists(model_dir)
    tf.io.gfile.makedirs(model_dir)
    try:
        with output_lock.hold_lock(os.path.join(model_dir, LOCK), f"--model_dir {model_dir!r}"):
            yield
    finally:
        if is_new and "://" not in model_dir:
            with contextlib.suppress(OSError):
                os.rmdir(model_dir)


def repair(model_dir: str, restored: NewestCheckpoint | None) -> None:
    """Move corrupt checkpoints away, make the restored one the newest, remove leftovers.

    Args:
        model_dir: directory of the run.
        restored: the checkpoint that the run continues from; None for a new run.
    """
    if not tf.io.gfile.isdir(model_dir):
        return
    if restored is not None:
        for prefix in (*restored.refused, *_lost_indexes(model_dir, restored.prefix)):
            _set_aside(model_dir, prefix)
        _repair_state_file(model_dir, restored.prefix)
    _remove_leftovers(model_dir)


def _lost_indexes(model_dir: str, newest: str) -> list[str]:
    """Return the checkpoints after `newest` whose data once had an index.

    The index is written after the data: an interrupted save leaves data without an index. The data
    are kept if the state file names the checkpoint or is unreadable.
    """
    state = checkpoint_search.read_state(model_dir)
    listed = {os.path.basename(path) for path in state.all_model_checkpoint_paths} if state else ()
    return [
        os.path.join(model_dir, name)
        for name in sorted(_orphans(model_dir))
        if checkpoint_search.number_of(name) > checkpoint_search.number_of(newest)
        and (state is None or name in listed)
    ]


def _set_aside(model_dir: str, prefix: str) -> None:
    """Move the files of a corrupt checkpoint away, the index first."""
    files = sorted(tf.io.gfile.glob(f"{prefix}.*"), key=lambda path: not path.endswith(".index"))
    if not files:
        return
    name = os.path.basename(prefix)
    target = os.path.join(model_dir, DAMAGED, name)
    number = 1
    while tf.io.gfile.exists(target):
        number += 1
        target = os.path.join(model_dir, DAMAGED, f"{name}.{number}")
    tf.io.gfile.makedirs(target)
    for path in files:
        tf.io.gfile.rename(path, os.path.join(target, os.path.basename(path)))
    print(f"the files of the corrupt checkpoint {prefix} are kept in {target}", flush=True)


def _repair_state_file(model_dir: str, newest: str) -> None:
    """Rewrite the state file if it does not name `newest` in this directory."""
    state = checkpoint_search.read_state(model_dir)
    if state is not None and os.path.realpath(state.model_checkpoint_path) == os.path.realpath(
        newest
    ):
        return
    number = checkpoint_search.number_of(newest)
    older = [
        prefix
        for prefix in checkpoint_files.prefixes_in(model_dir)
        if 0 <= checkpoint_search.number_of(prefix) < number
    ]
    paths = [*sorted(older, key=checkpoint_search.number_of), newest]
    times = [tf.io.gfile.stat(f"{path}.index").mtime_nsec / 1e9 for path in paths]
    update_checkpoint_state_internal(
        model_dir,
        os.path.basename(newest),
        all_model_checkpoint_paths=[os.path.basename(path) for path in paths],
        all_model_checkpoint_timestamps=times,
    )


def _remove_leftovers(model_dir: str) -> None:
    removed = []
    for name in sorted(_leftovers(model_dir)):
        path = os.path.join(model_dir, name)
        if tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        else:
            tf.io.gfile.remove(path)
        removed.append(name)
    if removed:
        print(f"removed the files of an interrupted save: {', '.join(removed)}", flush=True)


def _leftovers(model_dir: str) -> Iterator[str]:
    orphans = _orphans(model_dir)
    for name in _names_in(model_dir):
        data = _DATA.match(name)
        if _LEFTOVERS.match(name) or (data and data["name"] in orphans):
            yield name


def _orphans(model_dir: str) -> set[str]:
    """Return the names of checkpoints that have data and no index."""
    names = _names_in(model_dir)
    data = {match["name"] for match in map(_DATA.match, names) if match}
    return data - {name[: -len(".index")] for name in names if name.endswith(".index")}


def _names_in(directory: str) -> list[str]:
    return [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]


def _first_line(error: Exception) -> str:
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return message.splitlines()[0] if message else type(error).__name__
