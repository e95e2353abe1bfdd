"""Metrics of the auxiliary tasks, as sums and counts that are added over batches.

Shape letters: B batch, W padded windows, P proposals, S side of the mask, K classes without
background. Every function returns [2] float32: a sum, and what to divide it by.
"""

from __future__ import annotations

import tensorflow as tf


def window_average_precision(logits: tf.Tensor, labels: tf.Tensor, exists: tf.Tensor) -> tf.Tensor:
    """Return the average precision of each window's ranking of the classes.

    Args:
        logits: [B, W, K + 1].
        labels: [B, W, K + 1], those above 0 are the window's classes.
        exists: [B, W] bool.
    """
    order = tf.argsort(logits, axis=-1, direction="DESCENDING", stable=True)
    relevant = tf.cast(tf.gather(labels, order, batch_dims=2) > 0, tf.float32)
    ranks = tf.range(1, tf.shape(logits)[-1] + 1, dtype=tf.float32)
    precision = tf.cumsum(relevant, axis=-1) / ranks
    average = tf.math.divide_no_nan(
        tf.reduce_sum(precision * relevant, axis=-1), tf.reduce_sum(relevant, axis=-1)
    )
    return _sum_and_count(average, exists)


def window_divergence(logits: tf.Tensor, labels: tf.Tensor, exists: tf.Tensor) -> tf.Tensor:
    """Return the Kullback-Leibler divergence of the prediction from the label, in nats.

    See `window_average_precision` for the arguments.
    """
    difference = tf.math.log(tf.maximum(labels, 1e-12)) - tf.nn.log_softmax(logits)
    return _sum_and_count(tf.reduce_sum(labels * difference, axis=-1), exists)


def closeness_accuracy(logits: tf.Tensor, labels: tf.Tensor, exists: tf.Tensor) -> tf.Tensor:
    """Return the accuracy of the nearest other class; labels without one are not counted.

    Args:
        logits: [B, P, K] of the foreground classes.
        labels: [B, P, K].
        exists: [B, P] bool: the proposal has an object.
    """
    agree = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
    return _sum_and_count(tf.cast(agree, tf.float32), exists & (tf.reduce_sum(labels, -1) > 0))


def mask_accuracy(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the accuracy of the cells.

    Args:
        logits: [B, S, S, 2].
        mask: [B, S, S] of 0 and 1.
    """
    agree = tf.cast(_foreground(logits) == (mask > 0.5), tf.float32)
    return tf.stack([tf.reduce_sum(agree), tf.cast(tf.size(agree), tf.float32)])


def mask_iou(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return intersection and union of predicted and labeled foreground.

    See `mask_accuracy` for the arguments; logits may also have 1 in place of B and S.
    """
    predicted, truth = _foreground(logits), mask > 0.5
    parts = (predicted & truth, predicted | truth)
    return tf.stack([tf.reduce_sum(tf.cast(part, tf.float32)) for part in parts])


def _foreground(logits: tf.Tensor) -> tf.Tensor:
    return logits[..., 1] > logits[..., 0]


def _sum_and_count(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.where(counted, values, 0.0))
    return tf.stack([total, tf.reduce_sum(tf.cast(counted, tf.float32))])
