"""Corrupt examples of an input pipeline, skipped up to a number of records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from object_detection_mtl.data import example_issues, graph_errors, record_files
from object_detection_mtl.fields import Batch


def drop_corrupt(
    places: tf.data.Dataset,
    read: Callable[..., tuple],
    load: Callable[..., Any],
    index: record_files.RecordIndex,
    allowed: int,
) -> tf.data.Dataset:
    """Return the examples of `load` without corrupt ones; each counts those skipped before it.

    Args:
        places: (example number, record number) of each example.
        read: (example number, record number) -> arguments of `load`.
        load: returns an example, or (example, sources of its labels).
        index: the records.
        allowed: number of different corrupt records; one more is an error.

    Returns:
        The examples, in order.
    """

    @tf.autograph.experimental.do_not_convert
    def attempt(number: tf.Tensor, record: tf.Tensor) -> tuple:
        tried = tf.data.Dataset.from_tensors((number, record)).map(read).map(load)
        nothing = tf.nest.map_structure(
            lambda spec: tf.zeros([side or 0 for side in spec.shape], spec.dtype),
            tried.element_spec,
        )
        tried = tried.map(lambda *loaded: (True, loaded if len(loaded) > 1 else loaded[0]))
        succeeded, loaded = graph_errors.first_or(tried, (tf.constant(False), nothing))
        return succeeded, record, loaded

    @tf.autograph.experimental.do_not_convert
    def count(state: tuple, element: tuple) -> tuple:
        num_before, is_known = state
        succeeded, record, loaded = element
        known = tf.cond(
            succeeded,
            lambda: is_known,
            lambda: tf.tensor_scatter_nd_update(is_known, [[record]], [True]),
        )
        num_after = tf.where(succeeded, tf.zeros([], tf.int64), num_before + 1)
        check = _assert_few_corrupt(tf.math.count_nonzero(known), allowed, index, record)
        example = loaded[0] if isinstance(loaded, tuple) else loaded
        skipped = example_issues.count_of(example_issues.SKIPPED, num_before)
        with tf.control_dependencies([check]):
            counted = {**example, Batch.issues: example[Batch.issues] + skipped}
        output = (counted, *loaded[1:]) if isinstance(loaded, tuple) else counted
        return (num_after, known), (tf.identity(succeeded), output)

    tried = places.map(attempt, num_parallel_calls=tf.data.AUTOTUNE)
    state = (tf.zeros([], tf.int64), tf.zeros([len(index)], tf.bool))
    counted = tried.scan(state, count).filter(lambda succeeded, _: succeeded)
    return counted.map(lambda _, loaded: loaded)


def _assert_few_corrupt(
    number: tf.Tensor, allowed: int, index: record_files.RecordIndex, record: tf.Tensor
) -> tf.Operation:
    path = tf.constant(index.files)[tf.constant(index.file_numbers)[record]]
    return tf.debugging.Assert(
        number <= allowed,
        [
            f"more than {allowed} corrupt examples (max_corrupt_examples of the input reader); the "
            "last is record",
            tf.constant(index.positions)[record],
            "at byte",
            tf.constant(index.offsets)[record],
            "of",
            path,
        ],
    )
