"""Seeds of the random samples within one training step."""

from __future__ import annotations

import tensorflow as tf

# The samples of a step draw from different streams of its seed.
PROPOSAL_STREAM, ANCHOR_STREAM = 1, 2


def stream(seed: tf.Tensor | None, number: int) -> tf.Tensor:
    """An independent seed [2] for one purpose within a step."""
    base = tf.zeros([2], tf.int32) if seed is None else tf.cast(seed, tf.int32)
    return tf.random.experimental.stateless_fold_in(base, number, alg="philox")
