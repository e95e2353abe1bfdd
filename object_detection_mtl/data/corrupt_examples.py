"""Corrupt examples of an input pipeline, skipped up to a number of records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from object_detection_mtl.data import example_issues, graph_errors, record_files
from object_detection_mtl.fields import Batch


@dataclasses.dataclass(frozen=True)
class CorruptLimit:
    """Limit of different corrupt records, for code that counts those of several input pipelines.

    Attributes:
        allowed: number of different corrupt records.
        num_records: number of records.
        record_of: number of an example -> number of its record.
        place: number of a record -> its file and position.
    """

    allowed: int
    num_records: int
    record_of: Callable[[int], int]
    place: Callable[[int], str]


def make_limit(
    allowed: int, index: record_files.RecordIndex, record_of: Callable[[int], int]
) -> CorruptLimit | None:
    """Return the limit of some records; None if none of them may be corrupt."""
    return CorruptLimit(allowed, len(index), record_of, index.place) if allowed else None


def drop_corrupt(
    places: tf.data.Dataset,
    read: Callable[..., tuple],
    load: Callable[..., Any],
    index: record_files.RecordIndex,
    allowed: int,
) -> tf.data.Dataset:
    """Return the examples of `load` without corrupt ones; each lists those skipped before it.

    Args:
        places: (example number, record number) of each example.
        read: (example number, record number) -> arguments of `load`.
        load: returns an example, or (example, sources of its labels).
        index: the records.
        allowed: number of different corrupt records; one more is an error, and so is a dataset
            whose records are all corrupt.

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
        return number, succeeded, record, loaded

    @tf.autograph.experimental.do_not_convert
    def count(state: tuple, element: tuple) -> tuple:
        numbers_before, is_known = state
        number, succeeded, record, loaded = element
        known = tf.cond(
            succeeded,
            lambda: is_known,
            lambda: tf.tensor_scatter_nd_update(is_known, [[record]], [True]),
        )
        numbers_after = tf.cond(
            succeeded,
            lambda: tf.zeros([0], tf.int64),
            lambda: tf.concat([numbers_before, [number + 1]], axis=0),
        )
        check = _assert_few_corrupt(tf.math.count_nonzero(known), allowed, index, record)
        example = loaded[0] if isinstance(loaded, tuple) else loaded
        skipped = example_issues.count_of(example_issues.SKIPPED, tf.size(numbers_before))
        with tf.control_dependencies([check]):
            counted = {
                **example,
                Batch.issues: example[Batch.issues] + skipped,
                Batch.skipped: tf.identity(numbers_before),
            }
        output = (counted, *loaded[1:]) if isinstance(loaded, tuple) else counted
        return (numbers_after, known), (tf.identity(succeeded), output)

    tried = places.map(attempt, num_parallel_calls=tf.data.AUTOTUNE)
    state = (tf.zeros([0], tf.int64), tf.zeros([len(index)], tf.bool))
    counted = tried.scan(state, count).filter(lambda succeeded, _: succeeded)
    return counted.map(lambda _, loaded: loaded)


def _assert_few_corrupt(
    number: tf.Tensor, allowed: int, index: record_files.RecordIndex, record: tf.Tensor
) -> tf.Operation:
    # Of a training without a usable record the next example would never come.
    if allowed >= len(index):
        allowed, problem = len(index) - 1, f"all {len(index)} records are corrupt; the last is"
    else:
        problem = (
            f"more than {allowed} corrupt examples (max_corrupt_examples of the input reader); the "
            "last is"
        )
    path = tf.constant(index.files)[tf.constant(index.file_numbers)[record]]
    return tf.debugging.Assert(
        number <= allowed,
        [
            f"{problem} record",
            tf.constant(index.positions)[record],
            "at byte",
            tf.constant(index.offsets)[record],
            "of",
            path,
        ],
    )
