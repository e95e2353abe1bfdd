"""Checkpoint files on disk: finding one from what a user typed, and reading it.

Two kinds exist: name-based (TF1 Savers, TF-Slim) and object-based (TensorFlow 2). A V1 file of
TF1 is a single file; everything else is a prefix with an `.index` and `.data-...` files.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# What TensorFlow's reader raises over bad bytes; a short data file is an IndexError.
READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, IndexError)
PART_OF_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
# Files that come with models and are no checkpoints, and what to do.
_OTHER_FILES = (
    ((".tar.gz", ".tgz", ".tar", ".zip"), "an archive; unpack it and give the checkpoint in it"),
    ((".pb", ".pbtxt"), "a graph, whose weights cannot be trained on; give the checkpoint"),
    ((".config",), "a configuration; give the checkpoint"),
)


@dataclass(frozen=True)
class CheckpointFile:
    """An open checkpoint.

    Attributes:
        prefix: the path without `.index`.
        shapes: key -> shape of every variable in it.
        is_object_based: written by TensorFlow 2's `tf.train.Checkpoint`.
    """

    prefix: str
    shapes: dict[str, tuple[int, ...]]
    is_object_based: bool
    reader: Any

    def read(self, key: str) -> np.ndarray:
        """The value of a variable.

        Raises:
            ValueError: the data file is cut short or damaged.
        """
        try:
            return self.reader.get_tensor(key)
        except READ_ERRORS as error:
            raise damaged(self.prefix, error) from error


@dataclass(frozen=True)
class CheckpointValue:
    """Where a variable's new value comes from.

    Attributes:
        keys: the checkpoint's variables that it is made of.
        shape: its shape.
        load: reads it.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


def stored_value(checkpoint: CheckpointFile, key: str) -> CheckpointValue:
    """A variable of the checkpoint as it stands there."""
    return CheckpointValue((key,), checkpoint.shapes[key], lambda: checkpoint.read(key))


def damaged(prefix: str, error: Exception) -> ValueError:
    """The error for a file whose bytes are not what they were when it was written."""
    reason = str(error).splitlines()[0]
    return ValueError(
        f"checkpoint {prefix!r} cannot be read; it is damaged or cut short, copy it again "
        f"({reason})"
    )


def open_checkpoint(path: str | os.PathLike[str]) -> CheckpointFile:
    """Opens the checkpoint that `path` means (see `resolve_checkpoint`).

    Raises:
        FileNotFoundError, ValueError: as `resolve_checkpoint`; ValueError for a damaged file.
    """
    prefix = resolve_checkpoint(path)
    try:
        reader = tf.train.load_checkpoint(prefix)
        shapes = {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}
    except READ_ERRORS as error:
        raise damaged(prefix, error) from error
    is_object_based = shapes.pop(OBJECT_GRAPH_KEY, None) is not None
    return CheckpointFile(prefix, shapes, is_object_based, reader)


def resolve_checkpoint(path: str | os.PathLike[str]) -> str:
    """The checkpoint prefix that a user's path means; `~` is the home directory.

    Args:
        path: a prefix such as `train/ckpt-7`, a single V1 file, or a directory with a
            `checkpoint` state file, which means the newest checkpoint in it.

    Raises:
        FileNotFoundError: no such checkpoint; the message lists what is there.
        ValueError: an empty path, or a part of a checkpoint such as its `.index`.
    """
    text = os.path.expanduser(os.fspath(path))
    # As the shell completes the name of a folder, or a hand that of a checkpoint.
    text = text.rstrip("/") or text
    if not text:
        raise ValueError("the checkpoint path is empty; give a prefix such as train/ckpt-7")
    part = PART_OF_CHECKPOINT.search(text)
    if part:
        prefix = text[: part.start()]
        raise ValueError(
            f"{text!r} is one file of a checkpoint; give the common prefix of its files: {prefix!r}"
        )
    if tf.io.gfile.isdir(text):
        return newest_in(text)
    if tf.io.gfile.exists(text + ".index"):
        _require_data(text)
        return text
    if tf.io.gfile.exists(text):
        for suffixes, what in _OTHER_FILES:
            if text.endswith(suffixes):
                raise ValueError(f"{text!r} is {what}")
        return text
    raise FileNotFoundError(f"no checkpoint {text!r}; {_neighbours(text)}")


def newest_in(directory: str) -> str:
    """Prefix of the newest checkpoint of a directory, from its `checkpoint` state file.

    Raises:
        FileNotFoundError: the directory has no state file, or the newest checkpoint is gone.
    """
    state = tf.train.get_checkpoint_state(directory)
    if state is None or not state.model_checkpoint_path:
        prefixes = prefixes_in(directory)
        if prefixes:
            raise FileNotFoundError(
                f"directory {directory!r} has no `checkpoint` state file that names the newest; "
                f"give one of its checkpoints: {', '.join(prefixes)}"
            )
        if tf.io.gfile.exists(os.path.join(directory, "saved_model.pb")):
            raise FileNotFoundError(
                f"directory {directory!r} is a SavedModel; give the checkpoint it was made of, "
                "which exporters leave in checkpoint/ next to it"
            )
        raise FileNotFoundError(f"directory {directory!r} holds no checkpoint")
    prefix = state.model_checkpoint_path
    if not tf.io.gfile.exists(prefix + ".index"):
        # A folder that was copied: the state file may still name the place where it was.
        prefix = os.path.join(directory, os.path.basename(prefix))
    if not tf.io.gfile.exists(prefix + ".index"):
        raise FileNotFoundError(
            f"the state file of {directory!r} names {state.model_checkpoint_path!r}, whose .index "
            "file is missing; "
            f"{_neighbours(prefix)}"
        )
    _require_data(prefix)
    return prefix


def prefixes_in(directory: str) -> list[str]:
    """Prefixes of all checkpoints in a directory, sorted by name."""
    return sorted(name[: -len(".index")] for name in tf.io.gfile.glob(f"{directory}/*.index"))


def _require_data(prefix: str) -> None:
    shards = tf.io.gfile.glob(prefix + ".data-*-of-*")
    wanted = int(shards[0].rsplit("-", 1)[1]) if shards else 1
    if len(shards) < wanted:
        raise FileNotFoundError(
            f"checkpoint {prefix!r} has an .index file but {len(shards)} of its {wanted} "
            ".data files; copy the others next to it"
        )


def _neighbours(path: str) -> str:
    directory = os.path.dirname(path) or "."
    if not tf.io.gfile.isdir(directory):
        return f"there is no directory {directory!r}"
    prefixes = prefixes_in(directory)
    if not prefixes:
        return f"{directory!r} holds no checkpoint"
    close = difflib.get_close_matches(path, prefixes, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}{directory!r} holds {', '.join(map(os.path.basename, prefixes))}"
