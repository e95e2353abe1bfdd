"""Find a checkpoint from the path that a user typed.

The newest checkpoint of a directory is the newest COMPLETE one: all its values are read and
compared with their checksums. Corrupt ones are reported. The `checkpoint` state file names the
newest, but is not required: a training run that was killed while saving leaves a complete
checkpoint that the state file does not name yet.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.checkpoints.checkpoint_files import (
    PART_OF_CHECKPOINT,
    CheckpointFile,
    prefixes_in,
    read_checkpoint,
    verify_checkpoint,
)

STATE_FILE = "checkpoint"
# Choices for a corrupt newest checkpoint.
FALLBACK = "fallback"
FAIL = "fail"
ON_DAMAGED = (FALLBACK, FAIL)
# Exporters and archives of models keep their checkpoint in this subdirectory.
SUBDIRECTORY = "checkpoint"
_NUMBERED = re.compile(r"(?P<stem>.*)-(?P<number>\d+)$")
# Files that come with models and are no checkpoints, and what to do.
_OTHER_FILES = (
    ((".tar.gz", ".tgz", ".tar", ".zip"), "an archive; unpack it and give the checkpoint in it"),
    ((".pb", ".pbtxt"), "a graph, whose weights cannot be trained on; give the checkpoint"),
    ((".config",), "a configuration; give the checkpoint"),
)

# (prefix, time of change of its index) -> why it is corrupt, or "" if it is complete.
Verified = dict[tuple[str, int], str]


@dataclass(frozen=True)
class NewestCheckpoint:
    """The newest complete checkpoint of a directory.

    Attributes:
        prefix: prefix of its files.
        refused: prefix of every newer checkpoint that is corrupt -> reason.
    """

    prefix: str
    refused: dict[str, str]


def open_checkpoint(path: str | os.PathLike[str]) -> CheckpointFile:
    """Open the checkpoint that `path` means (see `resolve_checkpoint`).

    Raises:
        FileNotFoundError, ValueError: as `resolve_checkpoint`; ValueError for a corrupt file.
    """
    return read_checkpoint(resolve_checkpoint(path))


def resolve_checkpoint(path: str | os.PathLike[str], *, on_damaged: str = FALLBACK) -> str:
    """Return the checkpoint prefix that a user's path means; `~` is the home directory.

    Args:
        path: a prefix such as `train/ckpt-7`, a single V1 file, or a directory, which means the
            newest complete checkpoint in it or in its subdirectory `checkpoint`.
        on_damaged: one of `ON_DAMAGED`, for the newest checkpoint of a directory.

    Raises:
        FileNotFoundError: no such checkpoint; the message lists what is there.
        ValueError: an empty path, a part of a checkpoint such as its `.index`, or a directory
            whose checkpoints are corrupt.
    """
    text = os.path.expanduser(os.fspath(path))
    # Shells complete the name of a directory with a slash.
    text = output_paths.strip_slashes(text)
    if not text:
        raise ValueError("the checkpoint path is empty; give a prefix such as train/ckpt-7")
    part = PART_OF_CHECKPOINT.search(text)
    if part:
        prefix = text[: part.start()]
        raise ValueError(
            f"{text!r} is one file of a checkpoint; give the common prefix of its files: {prefix!r}"
        )
    if _is_directory(text):
        newest = find_newest(text, on_damaged=on_damaged)
        if newest is None:
            raise FileNotFoundError(_no_checkpoint_in(text))
        return newest.prefix
    if tf.io.gfile.exists(f"{text}.index"):
        return text
    if tf.io.gfile.exists(text):
        if os.path.basename(text) == STATE_FILE:
            raise ValueError(
                f"{text!r} is the state file of checkpoints; give its directory "
                f"{output_paths.directory_of(text)!r} for the newest one, or a prefix such as "
                "train/ckpt-7"
            )
        for suffixes, what in _OTHER_FILES:
            if text.endswith(suffixes):
                raise ValueError(f"{text!r} is {what}")
        return text
    raise FileNotFoundError(f"no checkpoint {text!r}; {_neighbors(text)}")


def _is_directory(path: str) -> bool:
    """Return whether a path is a directory.

    Some remote file systems call every beginning of a file's name a directory.
    """
    return tf.io.gfile.isdir(path) and not tf.io.gfile.exists(f"{path}.index")


def means_one_checkpoint(path: str) -> bool:
    """Return whether a path means one checkpoint, not a directory that may appear later."""
    path = output_paths.strip_slashes(os.path.expanduser(path))
    if _is_directory(path):
        # No further checkpoints are written to an export or a downloaded model.
        return checkpoint_directory(path) != path
    if tf.io.gfile.exists(path) or PART_OF_CHECKPOINT.search(path):
        return True
    has_neighbors = number_of(path) >= 0 and bool(prefixes_in(output_paths.directory_of(path)))
    return tf.io.gfile.exists(f"{path}.index") or has_neighbors


def find_newest(
    directory: str, *, on_damaged: str = FALLBACK, verified: Verified | None = None
) -> NewestCheckpoint | None:
    """Return the newest complete checkpoint of a directory or of its subdirectory `checkpoint`.

    Args:
        directory: directory of a run, an export or a downloaded model.
        on_damaged: FALLBACK takes the newest complete checkpoint and warns of the corrupt ones
            before it; FAIL refuses.
        verified: results of earlier calls, which are neither read nor reported again.

    Returns:
        None if there is no checkpoint at all.

    Raises:
        FileNotFoundError: the state file names checkpoints, and all of them are gone.
        ValueError: every checkpoint is corrupt, or with FAIL the newest is.
    """
    directory = checkpoint_directory(os.path.expanduser(directory))
    verified = {} if verified is None else verified
    refused: dict[str, str] = {}
    _warn_of_state_file(directory, verified)
    for prefix in _newest_first(directory):
        reported = len(verified)
        reason = _damage(prefix, verified)
        if not reason:
            return NewestCheckpoint(prefix, refused)
        if on_damaged == FAIL:
            raise ValueError(
                f"the newest checkpoint is corrupt: {reason}. --on_damaged_checkpoint={FALLBACK} "
                "takes the newest complete one instead"
            )
        if len(verified) > reported:
            logging.getLogger(__name__).warning(
                "%s; the newest complete checkpoint is taken instead", reason
            )
        refused[prefix] = reason
    if refused:
        reasons = "; ".join(refused.values())
        error = ValueError if any(map(_has_files, refused)) else FileNotFoundError
        raise error(f"{directory!r} holds no complete checkpoint: {reasons}")
    if _state_file_exists(directory):
        raise FileNotFoundError(
            f"the state file of {directory!r} names no checkpoint, and the directory has none. "
            "Restore the checkpoints, or remove the file `checkpoint` if there never was one"
        )
    return None


def checkpoint_directory(directory: str) -> str:
    """Return the subdirectory `checkpoint` of a directory that keeps its checkpoint there."""
    inner = os.path.join(directory, SUBDIRECTORY)
    if tf.io.gfile.isdir(inner) and not prefixes_in(directory):
        return inner
    return directory


def read_state(directory: str) -> Any:
    """Return the `CheckpointState` of a directory; None without a readable state file."""
    if not _state_file_exists(directory):
        return None
    try:
        state = tf.train.get_checkpoint_state(directory)
    except (ValueError, tf.errors.OpError):  # Bytes that are no text.
        state = None
    return state if state is not None and state.model_checkpoint_path else None


def number_of(prefix: str) -> int:
    """Return N of a prefix that ends in -N; -1 for others."""
    match = _NUMBERED.match(os.path.basename(prefix))
    return int(match["number"]) if match else -1


def _newest_first(directory: str) -> Iterator[str]:
    """Yield every checkpoint from the newest to the oldest.

    The newest of the state file comes first, except for checkpoints with a higher number that were
    written later: training was killed before it could write the state file.
    """
    present = sorted(_all_prefixes(directory), key=number_of, reverse=True)
    state = read_state(directory)
    if state is None:
        stems = {_stem(prefix) for prefix in present}
        if len(stems) > 1:
            raise FileNotFoundError(
                f"directory {directory!r} has no readable `{STATE_FILE}` state file that names the "
                f"newest checkpoint; give one of them: {', '.join(sorted(present))}"
            )
        yield from present
        return
    named = _in_directory(directory, state.model_checkpoint_path)
    listed = {os.path.basename(path) for path in state.all_model_checkpoint_paths}
    state_time = _changed(os.path.join(directory, STATE_FILE))
    newer = [
        prefix
        for prefix in present
        if _stem(prefix) == _stem(named)
        and number_of(prefix) > number_of(named)
        and os.path.basename(prefix) not in listed
        and _changed(f"{prefix}.index") >= state_time
    ]
    others = [prefix for prefix in present if _stem(prefix) == _stem(named) and prefix != named]
    older = [prefix for prefix in others if number_of(prefix) < number_of(named)]
    yield from dict.fromkeys([*newer, named, *older, *others])


def _all_prefixes(directory: str) -> set[str]:
    """Return the prefixes of all checkpoints with an index or data."""
    data = tf.io.gfile.glob(os.path.join(directory, "*.data-?????-of-?????"))
    state = read_state(directory)
    # Data without an index are the remains of a save that was killed, unless they are listed.
    listed = {os.path.basename(path) for path in state.all_model_checkpoint_paths} if state else ()
    orphans = {re.sub(r"\.data-\d{5}-of-\d{5}$", "", name) for name in data}
    return set(prefixes_in(directory)) | {p for p in orphans if os.path.basename(p) in listed}


def _damage(prefix: str, verified: Verified) -> str:
    """Return why a checkpoint cannot be used; empty if it can."""
    key = (prefix, _changed(f"{prefix}.index"))
    if key not in verified:
        if not tf.io.gfile.exists(f"{prefix}.index"):
            found = "its .index file is missing" if _has_files(prefix) else "its files are missing"
            verified[key] = f"checkpoint {prefix!r} cannot be used, {found}"
        else:
            try:
                verify_checkpoint(prefix)
                verified[key] = ""
            except (FileNotFoundError, ValueError) as error:
                verified[key] = str(error)
    return verified[key]


def _warn_of_state_file(directory: str, verified: Verified) -> None:
    path = os.path.join(directory, STATE_FILE)
    key = (path, _changed(path))
    if _state_file_exists(directory) and read_state(directory) is None and key not in verified:
        verified[key] = "the state file is corrupt"
        logging.getLogger(__name__).warning(
            "state file %r is empty or corrupt; the newest checkpoint is found without it", path
        )


def _has_files(prefix: str) -> bool:
    return bool(tf.io.gfile.glob(f"{prefix}.*"))


def _state_file_exists(directory: str) -> bool:
    path = os.path.join(directory, STATE_FILE)
    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


def _in_directory(directory: str, path: str) -> str:
    """Return a state file's path; of a directory that was copied, the path in the copy."""
    return os.path.join(directory, os.path.basename(path))


def _stem(prefix: str) -> str:
    match = _NUMBERED.match(os.path.basename(prefix))
    return match["stem"] if match else os.path.basename(prefix)


def _changed(path: str) -> int:
    """Return the time of a file's last change in ns; 0 if there is none."""
    return tf.io.gfile.stat(path).mtime_nsec if tf.io.gfile.exists(path) else 0


def _no_checkpoint_in(directory: str) -> str:
    if tf.io.gfile.exists(os.path.join(directory, "saved_model.pb")):
        return (
            f"directory {directory!r} is a SavedModel; give the checkpoint it was made of, "
            "which exporters leave in checkpoint/ next to it"
        )
    return f"directory {directory!r} holds no checkpoint"


def _neighbors(path: str) -> str:
    directory = output_paths.directory_of(path)
    if not tf.io.gfile.isdir(directory):
        return f"directory {directory!r} does not exist"
    prefixes = prefixes_in(directory)
    if not prefixes:
        return f"{directory!r} holds no checkpoint"
    close = difflib.get_close_matches(path, prefixes, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{directory!r} holds {', '.join(map(os.path.basename, prefixes))}"
