"""Parsed records of an index, in TensorFlow graphs."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data import example_decoder, graph_errors, record_files
from object_detection_mtl.data.auxiliary_labels import LabelMaker


def make_reader(index: record_files.RecordIndex, stored: LabelMaker | None) -> Callable[..., tuple]:
    """Return a function read(example number, record number) for a dataset of records.

    Args:
        index: the records.
        stored: reads the auxiliary labels of the records; None: they are not read.

    Returns:
        The function. It returns (example number, parsed features, place, record number); the place
        names the record in messages. A corrupt record is an InvalidArgumentError.
    """
    files = tf.constant(index.files)
    file_numbers = tf.constant(index.file_numbers)
    offsets = tf.constant(index.offsets)
    positions = tf.constant(index.positions)
    nothing = example_decoder.empty_features(stored=stored)

    @tf.autograph.experimental.do_not_convert
    def read(number: tf.Tensor, record: tf.Tensor) -> tuple:
        path, offset = files[file_numbers[record]], offsets[record]
        attempt = record_files.record_at(path, offset).map(
            lambda data: (True, example_decoder.parse(data, stored=stored))
        )
        succeeded, parsed = graph_errors.first_or(attempt, (tf.constant(False), nothing))
        position = tf.strings.as_string(positions[record])
        place = tf.strings.join(
            [path, ", record ", position, ", at byte ", tf.strings.as_string(offset)]
        )
        check = tf.debugging.Assert(
            succeeded,
            [example_decoder.CORRUPT_RECORD, place],
        )
        with tf.control_dependencies([check]):
            return number, {key: tf.identity(value) for key, value in parsed.items()}, place, record

    return read
