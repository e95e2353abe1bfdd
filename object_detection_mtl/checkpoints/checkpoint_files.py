"""Checkpoint files: opening, reading and verifying them.

Two kinds exist: name-based (TF1 Savers, TF-Slim) and object-based (TensorFlow 2). A V1 file of
TF1 is a single file; all others are a prefix with an `.index` and `.data-...` files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# Errors of TensorFlow's reader for corrupt files; IndexError is that of a truncated data file.
READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, IndexError)
PART_OF_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


@dataclass(frozen=True)
class CheckpointFile:
    """An open checkpoint.

    Attributes:
        prefix: the path without `.index`.
        shapes: key -> shape of every variable in it.
        is_object_based: written by TensorFlow 2's `tf.train.Checkpoint`.
        reader: TensorFlow's reader, or an object with its `get_tensor`.
    """

    prefix: str
    shapes: dict[str, tuple[int, ...]]
    is_object_based: bool
    reader: Any

    def read(self, key: str) -> np.ndarray:
        """Return the value of a variable.

        Raises:
            ValueError: the data file is truncated or corrupt.
        """
        try:
            return self.reader.get_tensor(key)
        except READ_ERRORS as error:
            raise corrupt_checkpoint(self.prefix, error) from error


@dataclass(frozen=True)
class CheckpointValue:
    """The source of a variable's new value.

    Attributes:
        keys: the checkpoint's variables that it is computed from.
        shape: its shape.
        load: reads it.
    """

    keys: tuple[str, ...]
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]


def stored_value(checkpoint: CheckpointFile, key: str) -> CheckpointValue:
    """Return a variable of the checkpoint as it is stored."""
    return CheckpointValue((key,), checkpoint.shapes[key], lambda: checkpoint.read(key))


def corrupt_checkpoint(prefix: str, error: Exception) -> ValueError:
    """Return the error for files whose bytes changed after they were written."""
    reason = str(error).splitlines()[0]
    return ValueError(
        f"checkpoint {prefix!r} cannot be read; its files are corrupt or truncated ({reason}). "
        "Copy it again, or give another checkpoint"
    )


def read_checkpoint(prefix: str) -> CheckpointFile:
    """Open the checkpoint with exactly this prefix.

    Raises:
        FileNotFoundError: a data file is missing.
        ValueError: the index is corrupt.
    """
    if tf.io.gfile.exists(f"{prefix}.index"):
        require_data(prefix)
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)
        shapes = {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}
    except READ_ERRORS as error:
        raise corrupt_checkpoint(prefix, error) from error
    is_object_based = shapes.pop(OBJECT_GRAPH_KEY, None) is not None
    return CheckpointFile(prefix, shapes, is_object_based, reader)


def verify_checkpoint(prefix: str) -> None:
    """Read every value of a checkpoint; TensorFlow compares each with its checksum.

    Raises:
        FileNotFoundError: a data file is missing.
        ValueError: a file is corrupt or truncated.
    """
    checkpoint = read_checkpoint(prefix)
    verify_values(checkpoint)
    if checkpoint.is_object_based:
        checkpoint.read(OBJECT_GRAPH_KEY)


def verify_values(checkpoint: CheckpointFile) -> None:
    """Read every value of an open checkpoint.

    Raises:
        ValueError: a file is corrupt or truncated.
    """
    for key in checkpoint.shapes:
        checkpoint.read(key)


def prefixes_in(directory: str) -> list[str]:
    """Return the prefixes of all checkpoints with an index in a directory, sorted by name."""
    pattern = os.path.join(directory, "*.index")
    return sorted(name[: -len(".index")] for name in tf.io.gfile.glob(pattern))


def require_data(prefix: str) -> None:
    """Refuse a checkpoint without all its data files.

    Raises:
        FileNotFoundError: some are missing.
    """
    shards = tf.io.gfile.glob(f"{prefix}.data-*-of-*")
    wanted = int(shards[0].rsplit("-", 1)[1]) if shards else 1
    if len(shards) < wanted:
        raise FileNotFoundError(
            f"checkpoint {prefix!r} has an .index file but {len(shards)} of its {wanted} "
            ".data files; copy the others next to it"
        )
