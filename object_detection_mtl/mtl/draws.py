"""Random bits of many pictures, each from a seed of its own.

Shape letters: B pictures.

`tf.random.stateless_uniform` takes one seed; for B pictures that would be B calls of more than ten
operations. Here what belongs to seeds is done for all of them together, and a picture costs one
operation. The bits are those of `tf.random.stateless_uniform(..., alg="philox")` and
`tf.random.experimental.stateless_fold_in`, which a test compares.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_PHILOX = 1
_SCRAMBLING_KEY = 0x02461E293EC8F720


def fold_in(seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Seeds int32 [B, 2] made of seeds int32 [B, 2] and a number, the same for all."""
    first = uniform_bits(seeds, [])
    return tf.stack([first, tf.broadcast_to(number, tf.shape(first))], axis=-1)


def uniform_bits(seeds: tf.Tensor, shape: list) -> tf.Tensor:
    """int32 [B, *shape], uniform over all 32 bits, from seeds int32 [B, 2]."""
    key = tf.constant([_SCRAMBLING_KEY], tf.uint64)
    counters = tf.bitcast(tf.cast(seeds, tf.int64), tf.uint64)
    mixed = _each(lambda counter: _bits(key, counter, [2, 2], tf.uint32), counters, tf.uint32)
    mixed = tf.bitcast(mixed, tf.uint64)  # [B, 2]
    counters = tf.stack([tf.zeros_like(mixed[:, 1]), mixed[:, 1]], axis=-1)
    arguments = tf.concat([mixed[:, :1], counters], axis=-1)
    return _each(lambda one: _bits(one[:1], one[1:], shape, tf.int32), arguments, tf.int32)


def _each(
    function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    if rows.shape[0] is None:
        return tf.map_fn(function, rows, fn_output_signature=dtype)
    return tf.stack([function(row) for row in tf.unstack(rows)])


def _bits(key: tf.Tensor, counter: tf.Tensor, shape: list, dtype: tf.DType) -> tf.Tensor:
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )
