"""Localization and classification losses, weighted per anchor.

Shape letters: B batch, N anchors or proposals, C classes (however many logits there are).

Each function returns one number per anchor, [B, N] (the sigmoid ones per logit, [B, N, C]), so
that callers normalize, sum and mine as they need. With a weight of 0, loss and gradient are exactly
0 for any prediction.
"""

from __future__ import annotations

import tensorflow as tf


def smooth_l1(
    predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, delta: float = 1.0
) -> tf.Tensor:
    """Return the Huber loss of codes [B, N, 4], summed over the code; [B, N].

    d^2 / 2 up to |d| = delta, then delta * (|d| - delta / 2). weights: [B, N].
    """
    if delta <= 0:
        raise ValueError(f"smooth_l1: delta is {delta}, expected a number > 0.")
    distance = tf.abs(_masked(predictions, weights) - _masked(targets, weights))
    quadratic = tf.minimum(distance, delta)
    huber = 0.5 * quadratic * quadratic + delta * (distance - quadratic)
    return tf.reduce_sum(huber, axis=-1) * weights


def smooth_l1_sigma(
    predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, sigma: float
) -> tf.Tensor:
    """Return Girshick's smooth L1: (sigma d)^2 / 2 up to |d| = 1 / sigma^2, then of slope 1.

    The Huber loss with delta = 1 / sigma^2, times sigma^2: far from the target its slope is 1.
    """
    if sigma <= 0:
        raise ValueError(f"smooth_l1_sigma: sigma is {sigma}, expected a number > 0.")
    return smooth_l1(predictions, targets, weights, delta=1.0 / sigma**2) * sigma**2


def l2(predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return half the squared distance of codes [B, N, 4], times their weight before squaring.

    So the weight counts squared, as in the OD API.
    """
    distance = _masked(predictions, weights) - _masked(targets, weights)
    return 0.5 * tf.reduce_sum(tf.square(distance * weights[..., tf.newaxis]), axis=-1)


def softmax_cross_entropy(
    logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, logit_scale: float = 1.0
) -> tf.Tensor:
    """Return the cross-entropy [B, N] of softmax(logits / logit_scale) and targets [B, N, C].

    weights: [B, N], or [B, N, C], of which the mean over C counts. The gradient towards the
    logits is softmax - targets, also where targets do not sum to one: what TensorFlow's fused
    operation does and the authors' rounded labels rely on.
    """
    if logit_scale <= 0:
        raise ValueError(f"softmax_cross_entropy: logit_scale is {logit_scale}, expected > 0.")
    if weights.shape.rank == logits.shape.rank:
        weights = tf.reduce_mean(weights, axis=-1)
    logits = _masked(logits, weights) / logit_scale
    losses = tf.nn.softmax_cross_entropy_with_logits(tf.stop_gradient(targets), logits)
    return losses * weights


def sigmoid_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return binary cross-entropies [B, N, C]; weights [B, N] or [B, N, C]."""
    weights = _per_logit(weights, logits)
    return _binary_cross_entropy(tf.where(weights != 0, logits, 0.0), targets) * weights


def sigmoid_focal(
    logits: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
) -> tf.Tensor:
    """Return the focal loss [B, N, C] (Lin et al., 2017): cross-entropy times (1 - p)^gamma.

    alpha weights positives, 1 - alpha negatives; None weights neither.
    """
    weights = _per_logit(weights, logits)
    logits = tf.where(weights != 0, logits, 0.0)
    probability = tf.sigmoid(logits)
    wrongness = targets * (1.0 - probability) + (1.0 - targets) * probability
    # With gamma < 1 the power has an infinite slope at 0, where the loss itself is 0.
    focus = tf.pow(tf.maximum(wrongness, 1e-12), gamma) if gamma else 1.0
    if alpha is not None:
        focus *= targets * alpha + (1.0 - targets) * (1.0 - alpha)
    return focus * _binary_cross_entropy(logits, targets) * weights


def bootstrapped_sigmoid(
    logits: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    alpha: float,
    bootstrap_type: str = "soft",
) -> tf.Tensor:
    """Return the cross-entropy [B, N, C] of labels mixed with predictions (Reed et al., 2015).

    The target is alpha * label + (1 - alpha) * belief; belief is the predicted probability
    ("soft") or whether it exceeds one half ("hard"). Meant for noisy labels.
    """
    weights = _per_logit(weights, logits)
    logits = tf.where(weights != 0, logits, 0.0)
    probability = tf.sigmoid(logits)
    if bootstrap_type == "soft":
        belief = probability
    elif bootstrap_type == "hard":
        belief = tf.cast(probability > 0.5, logits.dtype)
    else:
        raise ValueError(
            f"bootstrapped_sigmoid: bootstrap_type is {bootstrap_type!r}, "
            "expected 'soft' or 'hard'."
        )
    mixed = alpha * targets + (1.0 - alpha) * belief
    return _binary_cross_entropy(logits, mixed) * weights


def _binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)


def _per_logit(weights: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return weights if weights.shape.rank == logits.shape.rank else weights[..., tf.newaxis]


def _masked(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return values [B, N, ...] with 0 where the weight [B, N] is 0: 0 * infinity is not 0."""
    return tf.where(weights[..., tf.newaxis] != 0, values, 0.0)
