"""Auxiliary labels in the input pipeline, computed per chunk of examples.

Shape letters: C examples of a chunk, N padded boxes of a chunk.

A label maker defines the labels (`mtl.task_labels.TaskLabelMaker`, which the builder makes from the
auxiliary tasks). Labels depend on few boxes, so the overhead of starting operations dominates. To
reduce it, the labels of C examples are computed together. Their images are kept in a window of the
dataset, which does not copy them, at the size of the model's input: decoded images may be much
larger.
"""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

from object_detection_mtl.data.augmentation import Example
from object_detection_mtl.fields import Groundtruth

# Fewer start more operations for each example, more hold more images in memory.
CHUNK = 16


class LabelMaker(Protocol):
    """Interface of a label maker for the input pipeline.

    Attributes:
        from_records: labels are read from the records instead of made.
        object_keys: keys of labels with one row per ground-truth box.
    """

    @property
    def from_records(self) -> bool:
        """Whether labels are read from the records."""

    @property
    def object_keys(self) -> frozenset[str]:
        """Keys of labels with one row per ground-truth box."""

    def sources(self, example: Example, image_size: tf.Tensor, seed: tf.Tensor) -> Example:
        """Return what the labels of an augmented example are made from."""

    def make(self, sources: Example) -> Example:
        """Return the labels of a padded chunk of sources; examples do not influence each other."""

    def take_rows(self, labels: Example, number: tf.Tensor) -> Example:
        """Return the labels for the first `number` boxes of an image."""

    def parsing_spec(self) -> dict[str, tf.io.FixedLenSequenceFeature]:
        """Return the features of a record that hold labels."""

    def read(self, parsed: Example, image_id: tf.Tensor) -> Example:
        """Return the labels that a parsed record stores."""

    def flip_left_right(self, example: Example) -> Example:
        """Return the example with its stored labels mirrored."""


def with_labels(pairs: tf.data.Dataset, labels: LabelMaker, *, endless: bool) -> tf.data.Dataset:
    """Return examples with their labels, from pairs (example, sources of its labels), in order.

    Args:
        pairs: dictionaries; lists of the sources are padded to N >= 1 boxes.
        labels: makes the labels.
        endless: whether the dataset is; the chunks then have a static size.
    """

    @tf.autograph.experimental.do_not_convert
    def label_chunk(examples: dict, sources: dict) -> tf.data.Dataset:
        together = tf.data.Dataset.zip(sources).padded_batch(CHUNK, drop_remainder=endless)
        made = together.map(lambda source: labels.make(_with_rows(source))).unbatch()
        return tf.data.Dataset.zip((tf.data.Dataset.zip(examples), made))

    @tf.autograph.experimental.do_not_convert
    def merge(example: Example, made: Example) -> Example:
        # The pads of the chunk are longer than an example's own list, see `pipeline`.
        rows = tf.shape(example[Groundtruth.boxes])[0]
        return example | labels.take_rows(made, rows)

    return pairs.window(CHUNK, drop_remainder=endless).flat_map(label_chunk).map(merge)


def _with_rows(source: Example) -> Example:
    """Return lists [C, N, ...] with a row of zeros where no image of the chunk has any box.

    Labels for no rows at all would be tensors without elements, on which TensorFlow's `unbatch`
    ends the process.
    """
    return {
        key: _with_a_row(value) if value.shape.rank > 1 else value for key, value in source.items()
    }


def _with_a_row(value: tf.Tensor) -> tf.Tensor:
    missing = tf.maximum(0, 1 - tf.shape(value)[1])
    return tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2))
