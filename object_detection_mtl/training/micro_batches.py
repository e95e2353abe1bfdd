"""A batch in parts, one after the other: the mean of their losses and gradients, in less memory.

The activations of one part are freed before the next begins. Losses are means over the images, so
the mean over parts of one size is that of the whole batch, and the samples of an image depend on
its row in the batch alone: the update is the same to rounding. Batch normalization that is trained
reads one part at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from object_detection_mtl.ops import sampler
from object_detection_mtl.ops.tensor_shapes import size

# (part of the batch, its seed) -> nested tensors, or None for what there is not.
Compute = Callable[[Mapping[str, tf.Tensor], sampler.BatchSeed], Any]


def check_divisible(batch_size: int, num_parts: int) -> None:
    """Refuse a number of parts that does not divide the images of a replica.

    Raises:
        ValueError: parts of different sizes.
    """
    if num_parts < 1 or batch_size % num_parts:
        raise ValueError(
            f"train_config.num_micro_batches is {num_parts}, but it must divide the {batch_size} "
            "images that one device trains on in a step; change it or batch_size"
        )


def mean_over_parts(
    compute: Compute, batch: Mapping[str, tf.Tensor], seed: sampler.BatchSeed, num_parts: int
) -> Any:
    """Return the mean of `compute` over the parts of a batch.

    Args:
        compute: function of a part; its result has the same structure for every part.
        batch: tensors [B, ...].
        seed: seed of the batch.
        num_parts: number of parts; it divides B.
    """
    if num_parts == 1:
        return compute(batch, seed)

    def of_part(number: Any) -> Any:
        return compute(*_part(batch, seed, number, num_parts))

    # The first part shows what there is; the loop adds the others to it.
    first = of_part(0)
    flat = tf.nest.flatten(first)
    there = [position for position, value in enumerate(flat) if value is not None]

    def add(number: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        values = tf.nest.flatten(of_part(number))
        added = (
            total + tf.convert_to_tensor(values[position])
            for total, position in zip(sums, there, strict=True)
        )
        return number + 1, *added

    sums = [tf.convert_to_tensor(flat[position]) for position in there]
    _, *sums = tf.while_loop(
        lambda number, *_: number < num_parts,
        add,
        (tf.constant(1), *sums),
        parallel_iterations=1,
        maximum_iterations=num_parts - 1,
    )
    means: list[tf.Tensor | None] = [None] * len(flat)
    for position, total in zip(there, sums, strict=True):
        means[position] = total / num_parts
    return tf.nest.pack_sequence_as(first, means)


def _part(
    batch: Mapping[str, tf.Tensor], seed: sampler.BatchSeed, number: Any, num_parts: int
) -> tuple[dict[str, tf.Tensor], sampler.BatchSeed]:
    """Return the images [number * B / num_parts, (number + 1) * B / num_parts)."""

    def rows_of(values: tf.Tensor) -> tf.Tensor:
        length = size(values, 0) // num_parts
        part = values[number * length : (number + 1) * length]
        if isinstance(length, int):  # A slice with a tensor as bound has no static length.
            part = tf.ensure_shape(part, [length, *values.shape[1:]])
        return part

    return (
        {key: rows_of(values) for key, values in batch.items()},
        seed._replace(rows=rows_of(seed.rows)),
    )
