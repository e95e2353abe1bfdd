"""Random minibatches balanced between positives and negatives.

Shape letters: B batch, N candidates (anchors or proposals).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf

from object_detection_mtl.ops.tensor_shapes import Size, size, smallest

# The samples of a training step draw from different streams of its seed.
PROPOSAL_STREAM, ANCHOR_STREAM = 1, 2


class BatchSeed(NamedTuple):
    """Seed of a replica's part of a global batch.

    The samples of an image depend on the seed and its row in the global batch, so that one device
    and several devices draw the same samples.

    Attributes:
        seed: int32 [2], the same for all replicas.
        rows: int32 [B], row of each image in the global batch.
        num_rows: number of rows of the global batch.
    """

    seed: tf.Tensor
    rows: tf.Tensor
    num_rows: Size


# int32 [2] for a whole batch, or that of a part of it.
Seed: TypeAlias = tf.Tensor | BatchSeed


def seed_stream(seed: Seed | None, number: int) -> Seed:
    """Return an independent seed for one purpose within a training step."""
    if isinstance(seed, BatchSeed):
        return seed._replace(seed=seed_stream(seed.seed, number))
    base = tf.zeros([2], tf.int32) if seed is None else tf.cast(seed, tf.int32)
    return tf.random.experimental.stateless_fold_in(base, number, alg="philox")


def sample_balanced(
    indicator: tf.Tensor,
    is_positive: tf.Tensor,
    *,
    batch_size: int | None,
    positive_fraction: float,
    seed: Seed,
) -> tf.Tensor:
    """Return bool [B, N]: a random sample of each image's candidates.

    indicator: bool [B, N], the candidates that may be drawn. is_positive: bool [B, N].
    At most int(batch_size * positive_fraction) positives are drawn and negatives fill up to
    batch_size, as far as there are any; so there may be fewer than batch_size, never more.
    batch_size None draws every positive and (1 - f) / f times as many negatives.
    seed: int32 [2], or a `BatchSeed`; the same seed draws the same sample, eagerly, in a graph and
    under XLA.
    """
    if batch_size is not None and batch_size < 0:
        raise ValueError(f"sample_balanced: batch_size is {batch_size}, expected >= 0 or None.")
    if not 0.0 <= positive_fraction <= 1.0:
        raise ValueError(
            f"sample_balanced: positive_fraction is {positive_fraction}, expected 0 to 1."
        )
    keys = _keys(indicator, seed)
    positives = indicator & is_positive
    negatives = indicator & ~is_positive
    if batch_size is None:
        if positive_fraction == 0.0:
            raise ValueError(
                "sample_balanced: positive_fraction is 0 and batch_size is None: the number of "
                "negatives would be infinite. Set one of them."
            )
        num_positives = _count(positives)
        ratio = (1.0 - positive_fraction) / positive_fraction
        num_negatives = tf.cast(tf.cast(num_positives, tf.float32) * ratio, tf.int32)
        most_negatives = None
        drawn = positives
    else:
        drawn = _draw(positives, keys, int(batch_size * positive_fraction))
        num_negatives = batch_size - _count(drawn)
        most_negatives = batch_size
    return drawn | _draw(negatives, keys, most_negatives, num_negatives)


def _keys(indicator: tf.Tensor, seed: Seed) -> tf.Tensor:
    """Return a random number for each candidate, float32 [B, N]."""
    if not isinstance(seed, BatchSeed):
        return _uniform(tf.shape(indicator), seed)
    of_all = _uniform(tf.stack([seed.num_rows, tf.shape(indicator)[1]]), seed.seed)
    return tf.gather(of_all, seed.rows)


def _uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return float32 in [0, 1) of 24 random bits each.

    XLA makes other floats of the same random bits, so integers are drawn and converted, which is
    exact.
    """
    bits = tf.random.stateless_uniform(
        shape, seed, dtype=tf.int32, minval=None, maxval=None, alg="philox"
    )
    upper = tf.bitwise.right_shift(tf.bitcast(bits, tf.uint32), tf.constant(8, tf.uint32))
    return tf.cast(upper, tf.float32) * 2.0**-24


def _draw(
    candidates: tf.Tensor, keys: tf.Tensor, most: int | None, number: tf.Tensor | None = None
) -> tf.Tensor:
    """Return bool [B, N]: the `number` [B] candidates with the greatest keys, at most `most`.

    The indices of a top-k, not a threshold on the keys, decide: equal keys do occur.
    """
    most = size(candidates, 1) if most is None else smallest(most, size(candidates, 1))
    order, places = tf.math.top_k(tf.where(candidates, keys, -1.0), most)
    drawn = order >= 0.0
    if number is not None:
        drawn &= tf.range(most) < number[:, tf.newaxis]
    batch = tf.shape(candidates)[0]
    images = tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(places))
    counts = tf.scatter_nd(
        tf.stack([images, places], axis=-1), tf.cast(drawn, tf.int32), tf.shape(candidates)
    )
    return tf.ensure_shape(counts > 0, candidates.shape)


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
