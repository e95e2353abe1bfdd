"""Selection of trained variables; multipliers and clipping of gradients.

Variables have their TF1 names here (`FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights`);
the patterns of a config refer to these names.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

import keras
import tensorflow as tf

# The biases of the heads, without the beta of batch norm.
BIASES = re.compile(r"/biases$")


def trained_variables(
    names: Mapping[str, keras.Variable],
    trainable: Iterable[keras.Variable],
    *,
    update_patterns: Sequence[str] = (),
    freeze_patterns: Sequence[str] = (),
) -> dict[str, keras.Variable]:
    """Return the variables to train, by name, in the order of `names`.

    Args:
        names: every variable of the detector.
        trainable: those that the model itself leaves trainable.
        update_patterns: regular expressions; if any are given, only names that one of them matches
            somewhere are trained (`update_trainable_variables`).
        freeze_patterns: names that one of these matches somewhere are not (`freeze_variables`).

    Raises:
        ValueError: a pattern is not a regular expression, or every variable is frozen.
    """
    update = [
        _compiled(pattern, names, "update_trainable_variables") for pattern in update_patterns
    ]
    freeze = [_compiled(pattern, names, "freeze_variables") for pattern in freeze_patterns]
    may_train = {id(variable) for variable in trainable}
    chosen = {
        name: variable
        for name, variable in names.items()
        if id(variable) in may_train
        and (not update or any(pattern.search(name) for pattern in update))
        and not any(pattern.search(name) for pattern in freeze)
    }
    if not chosen:
        raise ValueError(
            "every variable of the model is frozen, so there is nothing to train; check the "
            "`trainable` flags, freeze_variables and update_trainable_variables of the config"
        )
    return chosen


def _compiled(pattern: str, names: Mapping[str, keras.Variable], field: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"train_config.{field}: {pattern!r} is not a regular expression ({error})"
        ) from error
    if not any(compiled.search(name) for name in names):
        logging.getLogger(__name__).warning(
            "train_config.%s: %r matches no variable; names look like %s",
            field,
            pattern,
            next(iter(names), ""),
        )
    return compiled


def multipliers(names: Iterable[str], *, everything: float, biases: float) -> list[float]:
    """Return the factor of every variable's gradient.

    A factor of 0, the default of the protobuf fields, means 1.

    Args:
        names: names of the variables.
        everything: factor of all gradients.
        biases: further factor of the gradients of biases.
    """
    everything, biases = everything or 1.0, biases or 1.0
    return [everything * (biases if BIASES.search(name) else 1.0) for name in names]


def clip(
    gradients: Sequence[tf.Tensor], limit: float, *, per_variable: bool
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Scale gradients down to a largest L2 norm, and measure them.

    Args:
        gradients: any shapes.
        limit: largest norm; 0 leaves them as they are.
        per_variable: `limit` holds for each gradient alone (TF1) instead of for all together.

    Returns:
        The clipped gradients and the L2 norm of all of them together BEFORE clipping, [].
    """
    squares = [tf.reduce_sum(tf.square(gradient)) for gradient in gradients]
    global_norm = tf.sqrt(tf.add_n(squares))
    if limit <= 0.0:
        return list(gradients), global_norm
    if per_variable:
        norms = [tf.sqrt(square) for square in squares]
    else:
        norms = [global_norm] * len(squares)
    return [
        gradient * (limit / tf.maximum(norm, limit))
        for gradient, norm in zip(gradients, norms, strict=True)
    ], global_norm
