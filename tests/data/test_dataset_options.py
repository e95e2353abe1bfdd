"""Options of the package's datasets."""

import time

import pytest
import tensorflow as tf

from object_detection_mtl.data import dataset_options


@pytest.mark.long
def test_iterators_end_at_once():
    """With tf.data's tuning, eight of them took a minute or two."""
    numbers = tf.data.Dataset.counter().map(lambda number: number + 1, num_parallel_calls=2)
    numbers = numbers.prefetch(2).with_options(dataset_options.fixed_parallelism())
    iterators = [iter(numbers) for _ in range(8)]
    for iterator in iterators:
        next(iterator)
    time.sleep(8)  # The tuning thread sleeps for twice as long each time.
    start = time.monotonic()
    while iterators:
        iterators.pop()
    assert time.monotonic() - start < 4


def test_parallel_calls_need_no_tuning():
    numbers = tf.data.Dataset.range(5).map(lambda n: n + 1, num_parallel_calls=tf.data.AUTOTUNE)
    numbers = numbers.with_options(dataset_options.fixed_parallelism())
    assert list(numbers.as_numpy_iterator()) == [1, 2, 3, 4, 5]
