"""Labels of the auxiliary tasks on the fly, for a chunk of examples at a time.

Shape letters: C examples of a chunk, N padded boxes of a chunk.

Labels are made of a handful of boxes, and most of the time goes into starting operations. So the
labels of C examples are made at once. Their pictures wait beside it in a window of the data set,
which does not copy them. They wait as the model takes them, since a photograph as it was taken may
be much larger.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.data.augmentation import Example

# Fewer start more operations for an example, more hold more pictures in memory.
CHUNK = 16


def with_labels(
    pairs: tf.data.Dataset, make_labels: Callable[[Example], Example], *, endless: bool
) -> tf.data.Dataset:
    """Pairs (example, its labels), in the order of the pairs (example, what labels are made of).

    make_labels: from dictionaries with a leading C, zero padded to N >= 1, to dictionaries with a
        leading C. What it makes for an example must not depend on the others.
    endless: whether the data set is; the chunks then have a static size.
    """

    @tf.autograph.experimental.do_not_convert
    def labelled(examples: dict, sources: dict) -> tf.data.Dataset:
        together = tf.data.Dataset.zip(sources).padded_batch(CHUNK, drop_remainder=endless)
        labels = together.map(lambda source: make_labels(_with_rows(source))).unbatch()
        return tf.data.Dataset.zip((tf.data.Dataset.zip(examples), labels))

    return pairs.window(CHUNK, drop_remainder=endless).flat_map(labelled)


def _with_rows(source: Example) -> Example:
    """Lists [C, N, ...] with a row of zeros where no picture of the chunk has any box.

    Labels for no rows at all would be tensors without elements, on which TensorFlow's `unbatch`
    ends the process.
    """
    return {
        key: _with_a_row(value) if value.shape.rank > 1 else value for key, value in source.items()
    }


def _with_a_row(value: tf.Tensor) -> tf.Tensor:
    missing = tf.maximum(0, 1 - tf.shape(value)[1])
    return tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2))
