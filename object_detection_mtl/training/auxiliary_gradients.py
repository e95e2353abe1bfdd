"""Gradients of auxiliary losses beside those of the main losses.

The main losses are the four of a two-stage detector; all others are auxiliary. Shared variables get
gradients from both. Forms other than the plain sum change the gradients of shared variables only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from object_detection_mtl.fields import Losses

MAIN_LOSSES = frozenset(
    (
        Losses.rpn_localization,
        Losses.rpn_objectness,
        Losses.box_localization,
        Losses.box_classification,
    )
)
# The plain gradient of the total loss.
SUM = "SUM"
# The sum, scaled on shared variables to the norm of the main gradient.
NORM_OF_MAIN = "NORM_OF_MAIN"
# If the two conflict, the component of the auxiliary gradient along the main one is removed, as
# in PCGrad (Yu et al. 2020), with all auxiliary losses as one task and the main losses unchanged.
PROJECT = "PROJECT"
FORMS = (SUM, NORM_OF_MAIN, PROJECT)

# A gradient for each trained variable; None where a loss does not reach it.
Gradients = Sequence[tf.Tensor | None]


def ramp(step: tf.Tensor, start: int, num_steps: int) -> tf.Tensor:
    """Return the factor of the auxiliary losses: 0, then a linear rise, then 1.

    Args:
        step: [], steps completed before.
        start: first step with auxiliary losses.
        num_steps: length of the rise; 0 for none.
    """
    since = tf.cast(step, tf.float32) - float(start)
    if num_steps == 0:
        return tf.cast(since >= 0.0, tf.float32)
    return tf.clip_by_value((since + 1.0) / float(num_steps), 0.0, 1.0)


def combine(main: Gradients, auxiliary: Gradients, form: str) -> list[tf.Tensor | None]:
    """Return the gradient to train with.

    Args:
        main: gradients of the main losses, per variable.
        auxiliary: gradients of the auxiliary losses.
        form: one of `FORMS`.
    """
    pairs = list(zip(main, auxiliary, strict=True))
    shared = [number for number, (a, b) in enumerate(pairs) if a is not None and b is not None]
    total = [_sum(a, b) for a, b in pairs]
    if form == SUM or not shared:
        return total
    ours = [tf.convert_to_tensor(main[number]) for number in shared]
    others = [tf.convert_to_tensor(auxiliary[number]) for number in shared]
    if form == NORM_OF_MAIN:
        both = [total[number] for number in shared]
        factor = tf.math.divide_no_nan(norm(ours), norm(both))
        combined = [factor * gradient for gradient in both]
    elif form == PROJECT:
        # The part along the main gradient, where it points the other way.
        along = tf.math.divide_no_nan(tf.minimum(dot(ours, others), 0.0), dot(ours, ours))
        combined = [
            main_part + (other - along * main_part)
            for main_part, other in zip(ours, others, strict=True)
        ]
    else:
        raise ValueError(f"form {form!r} is unknown; expected one of {', '.join(FORMS)}")
    for number, gradient in zip(shared, combined, strict=True):
        total[number] = gradient
    return total


def measure(
    terms: dict[str, Gradients], is_shared: Sequence[bool], main: Iterable[str]
) -> dict[str, tf.Tensor]:
    """Return norms of the gradients of loss terms, and their angles to the main losses.

    Args:
        terms: name -> gradient of a weighted term, per variable.
        is_shared: whether a variable belongs to the shared features, per variable.
        main: names of the main losses among the terms.

    Returns:
        `GradientNorm/shared/<term>` and `GradientNorm/heads/<term>`, on shared features and on all
        other variables; `GradientCosine/<term>` between a term and the sum of the main losses, and
        `GradientCosine/<auxiliary>/<main>` between two terms, on shared features.
    """
    shared = {
        name: [_dense(g) for g, flag in zip(gradients, is_shared, strict=True) if flag]
        for name, gradients in terms.items()
    }
    heads = {
        name: [_dense(g) for g, flag in zip(gradients, is_shared, strict=True) if not flag]
        for name, gradients in terms.items()
    }
    main = [name for name in main if name in terms]
    sums = [_sum_all([shared[name][number] for name in main]) for number in range(sum(is_shared))]
    measured = {f"GradientNorm/shared/{name}": norm(values) for name, values in shared.items()}
    measured |= {f"GradientNorm/heads/{name}": norm(values) for name, values in heads.items()}
    measured["GradientNorm/shared/main_losses"] = norm(sums)
    for name, values in shared.items():
        measured[f"GradientCosine/{name}"] = cosine(values, sums)
        if name not in main:
            for other in main:
                measured[f"GradientCosine/{name}/{other}"] = cosine(values, shared[other])
    return measured


def dot(a: Gradients, b: Gradients) -> tf.Tensor:
    """Return the inner product of two gradients; variables that either lacks count 0."""
    products = [
        tf.reduce_sum(tf.convert_to_tensor(x) * tf.convert_to_tensor(y))
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None
    ]
    return tf.add_n(products) if products else tf.constant(0.0)


def norm(gradients: Gradients) -> tf.Tensor:
    """Return the L2 norm of a gradient."""
    return tf.sqrt(dot(gradients, gradients))


def cosine(a: Gradients, b: Gradients) -> tf.Tensor:
    """Return the cosine of the angle between two gradients; 0 if one of them is 0."""
    return tf.math.divide_no_nan(dot(a, b), norm(a) * norm(b))


def _sum(a: tf.Tensor | None, b: tf.Tensor | None) -> tf.Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)


def _sum_all(gradients: Gradients) -> tf.Tensor | None:
    present = [gradient for gradient in gradients if gradient is not None]
    return tf.add_n(present) if present else None


def _dense(gradient: tf.Tensor | None) -> tf.Tensor | None:
    return None if gradient is None else tf.convert_to_tensor(gradient)
