"""Order of training examples: number of an example -> record.

Each epoch is a permutation of all records, drawn from the seed and the epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Examples that a tf.data service gives to one of its workers at a time.
BLOCK = 64
_NO_LAST_BLOCK = 2**62


def training_places(
    num_records: int, shuffle: bool, seed: int, start_example: int
) -> tf.data.Dataset:
    """Return an endless dataset of (example number, record number), int64, from `start_example`."""
    first_epoch, first_position = divmod(start_example, num_records)

    def epoch_places(epoch: tf.Tensor) -> tf.data.Dataset:
        order = epoch_order(num_records, shuffle, seed, epoch)
        numbers = epoch * num_records + tf.range(num_records, dtype=tf.int64)
        begin = tf.where(tf.equal(epoch, first_epoch), first_position, 0)  # where a run resumes
        return tf.data.Dataset.from_tensor_slices((numbers[begin:], order[begin:]))

    return tf.data.Dataset.counter(start=first_epoch).flat_map(epoch_places)


def epoch_order(num_records: int, shuffle: bool, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return the record numbers of an epoch in their order, int64 [num_records]."""
    order = tf.range(num_records, dtype=tf.int64)
    if not shuffle:
        return order
    return tf.random.experimental.stateless_shuffle(
        order, seed=tf.stack([tf.constant(seed, tf.int64), epoch]), alg="philox"
    )


def record_finder(num_records: int, shuffle: bool, seed: int) -> Callable[[int], int]:
    """Return a function: example number -> record number."""

    def record_of(number: int) -> int:
        epoch, position = divmod(number, num_records)
        order = epoch_order(num_records, shuffle, seed, tf.constant(epoch, tf.int64))
        return int(order[position])

    return record_of


def evaluation_places(
    num_records: int, context: tf.distribute.InputContext | None
) -> tf.data.Dataset:
    """Return (number, number) of each record once, int64, of this pipeline."""
    places = tf.data.Dataset.range(num_records).map(lambda number: (number, number))
    return shard_of_pipeline(places, context, 0)


def shard_of_pipeline(
    places: tf.data.Dataset, context: tf.distribute.InputContext | None, start_example: int
) -> tf.data.Dataset:
    """Return the shard of this pipeline; it does not depend on where a run resumes."""
    if context is None or context.num_input_pipelines == 1:
        return places
    number = context.num_input_pipelines
    return places.shard(number, (context.input_pipeline_id - start_example) % number)


def pipeline_places(
    num_records: int,
    shuffle: bool,
    seed: int,
    start_example: int,
    context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
    """Return the examples of `training_places` for one pipeline."""
    places = training_places(num_records, shuffle, seed, start_example)
    return shard_of_pipeline(places, context, start_example)


def service_places(
    num_records: int,
    shuffle: bool,
    seed: int,
    start_example: int,
    context: tf.distribute.InputContext | None,
) -> tf.data.Dataset:
    """Return the examples of `training_places` for one pipeline, as blocks of a divisible dataset.

    A tf.data service divides the outermost dataset, here the blocks, among its workers.
    """
    blocks_per_epoch = -(-num_records // BLOCK)
    pipelines = context.num_input_pipelines if context is not None else 1
    pipeline = context.input_pipeline_id if context is not None else 0
    first_epoch, first_position = divmod(start_example, num_records)

    def block_places(block: tf.Tensor) -> tf.data.Dataset:
        epoch, part = block // blocks_per_epoch, block % blocks_per_epoch
        order = epoch_order(num_records, shuffle, seed, epoch)
        rows = slice(part * BLOCK, (part + 1) * BLOCK)
        numbers = epoch * num_records + tf.range(num_records, dtype=tf.int64)[rows]
        mine = (numbers >= start_example) & tf.equal(numbers % pipelines, pipeline)
        return tf.data.Dataset.from_tensor_slices((numbers[mine], order[rows][mine]))

    first_block = first_epoch * blocks_per_epoch + first_position // BLOCK
    return tf.data.Dataset.range(first_block, _NO_LAST_BLOCK).flat_map(block_places)
