"""Matching of anchors or proposals to ground-truth boxes by similarity.

Shape letters: G rows, A columns, ... any leading dimensions.
"""

from __future__ import annotations

import tensorflow as tf

UNMATCHED = -1
IGNORED = -2


def argmax_match(
    similarity: tf.Tensor,
    *,
    matched_threshold: float | None,
    unmatched_threshold: float | None = None,
    force_match: bool = False,
    negatives_lower_than_unmatched: bool = True,
    valid_rows: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return int32 [..., A]: the row of each column of similarity [..., G, A], or -1 or -2.

    A column takes its most similar row (the first among equals) if that similarity is at least
    matched_threshold. Below unmatched_threshold (default: matched_threshold) it is unmatched, -1;
    between the two it is ignored, -2. negatives_lower_than_unmatched=False exchanges -1 and -2.
    With matched_threshold None every column is matched; without any row every one is unmatched.

    force_match: besides, each row takes its most similar column (the first among equals), however
    low the similarity. If several rows select one column, the last gets it, as in the authors'
    code.
    valid_rows: bool [..., G], the rows that may force (default: all). An invalid row can still be
    chosen by a column: this finds the anchors on an ignored box, weight 0. Rows that are only
    padding need a similarity below every threshold as well.
    """
    _check(matched_threshold, unmatched_threshold, negatives_lower_than_unmatched)
    if not similarity.shape[-2]:  # none, or unknown: an arg-max needs at least one row
        paddings = [[0, 0]] * (similarity.shape.rank - 2) + [[0, 1], [0, 0]]
        padded = tf.pad(similarity, paddings, constant_values=float("-inf"))
    else:
        padded = similarity
    best = tf.reduce_max(padded, axis=-2)
    matches = tf.argmax(padded, axis=-2, output_type=tf.int32)
    if matched_threshold is not None:
        if unmatched_threshold is None:
            unmatched_threshold = matched_threshold
        below, between = UNMATCHED, IGNORED
        if not negatives_lower_than_unmatched:
            below, between = between, below
        matches = tf.where(best >= matched_threshold, matches, between)
        matches = tf.where(best < unmatched_threshold, below, matches)
    matches = tf.where(best > float("-inf"), matches, UNMATCHED)
    if not force_match:
        return matches
    forced = _forced_matches(similarity, valid_rows)
    return tf.where(forced >= 0, forced, matches)


def _forced_matches(similarity: tf.Tensor, valid_rows: tf.Tensor | None) -> tf.Tensor:
    """Return int32 [..., A]: the last valid row whose most similar column this is, or -1."""
    shape = tf.shape(similarity)
    num_rows, num_columns = shape[-2], shape[-1]
    columns = tf.reshape(tf.argmax(similarity, axis=-1, output_type=tf.int32), [-1])
    rows = tf.broadcast_to(tf.range(num_rows), shape[:-1])
    if valid_rows is not None:
        rows = tf.where(valid_rows, rows, UNMATCHED)
    leading = tf.reduce_prod(shape[:-2])
    matrices = tf.repeat(tf.range(leading), num_rows)
    forced = tf.tensor_scatter_nd_max(
        tf.fill([leading, num_columns], UNMATCHED),
        tf.stack([matrices, columns], axis=-1),
        tf.reshape(rows, [-1]),
    )
    forced = tf.reshape(forced, tf.concat([shape[:-2], [num_columns]], axis=0))
    return tf.ensure_shape(forced, similarity.shape[:-2] + similarity.shape[-1:])


def _check(
    matched_threshold: float | None,
    unmatched_threshold: float | None,
    negatives_lower_than_unmatched: bool,
) -> None:
    if matched_threshold is None:
        if unmatched_threshold is not None:
            raise ValueError(
                f"argmax_match: unmatched_threshold is {unmatched_threshold} without a "
                "matched_threshold; give both or only matched_threshold."
            )
        return
    if unmatched_threshold is None:
        unmatched_threshold = matched_threshold
    if unmatched_threshold > matched_threshold:
        raise ValueError(
            f"argmax_match: unmatched_threshold {unmatched_threshold} is greater than "
            f"matched_threshold {matched_threshold}; it must not be."
        )
    if unmatched_threshold == matched_threshold and not negatives_lower_than_unmatched:
        raise ValueError(
            "argmax_match: negatives_lower_than_unmatched=False makes the columns between the "
            f"two thresholds the negatives, but both thresholds are {matched_threshold}: there "
            "would be none. Lower unmatched_threshold."
        )
