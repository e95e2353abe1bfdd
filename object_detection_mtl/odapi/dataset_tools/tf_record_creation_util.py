"""Sharded record files."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


def open_sharded_output_tfrecords(
    exit_stack: contextlib.ExitStack, base_path: str, num_shards: int
) -> list[tf.io.TFRecordWriter]:
    """Return one writer per shard: `base_path-00000-of-00010` and so on.

    Args:
        exit_stack: closes the writers when it ends.
        base_path: start of the names of the files.
        num_shards: number of files.
    """
    return [
        exit_stack.enter_context(
            tf.io.TFRecordWriter(f"{base_path}-{number:05d}-of-{num_shards:05d}")
        )
        for number in range(num_shards)
    ]
