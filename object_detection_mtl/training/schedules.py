"""Learning rates as functions of the training step.

step is an integer, or an integer tensor of any shape; the result is float32 of that shape. The
first step is 0. The functions work eagerly and in a graph; `Schedule` wraps one for an optimizer.
Defaults and meanings are those of the OD API's learning-rate messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

Step: TypeAlias = tf.Tensor | int


def constant(step: Step, *, learning_rate: float) -> tf.Tensor:
    """Return the same rate at every step."""
    return tf.fill(tf.shape(step), tf.constant(learning_rate, tf.float32))


def exponential_decay(
    step: Step,
    *,
    initial_learning_rate: float,
    decay_steps: int,
    decay_factor: float,
    staircase: bool = True,
    burnin_learning_rate: float = 0.0,
    burnin_steps: int = 0,
    min_learning_rate: float = 0.0,
) -> tf.Tensor:
    """Return initial_learning_rate * decay_factor ^ (steps since the burn-in / decay_steps).

    staircase rounds the exponent down. During the first burnin_steps the rate is
    burnin_learning_rate (0 means initial_learning_rate); it is never below min_learning_rate.
    """
    if decay_steps < 1:
        raise ValueError(f"exponential_decay: decay_steps is {decay_steps}, expected >= 1.")
    if burnin_learning_rate == 0.0:
        burnin_learning_rate = initial_learning_rate
    step = tf.cast(step, tf.int64)
    since_burnin = tf.maximum(step - burnin_steps, 0)
    if staircase:
        exponent = tf.cast(since_burnin // decay_steps, tf.float32)
    else:
        exponent = tf.cast(since_burnin / decay_steps, tf.float32)
    decayed = initial_learning_rate * tf.pow(tf.constant(decay_factor, tf.float32), exponent)
    rate = tf.where(step < burnin_steps, burnin_learning_rate, decayed)
    return tf.maximum(rate, min_learning_rate)


def manual_steps(
    step: Step, *, boundaries: Sequence[int], learning_rates: Sequence[float], warmup: bool = False
) -> tf.Tensor:
    """Return learning_rates[i] from step boundaries[i - 1] on.

    There is one more rate than boundaries. With warmup the rate changes linearly from the first to
    the second until boundaries[0], instead of jumping there.
    """
    boundaries, rates = list(boundaries), list(learning_rates)
    if len(rates) != len(boundaries) + 1:
        raise ValueError(
            f"manual_steps: {len(rates)} learning rates for {len(boundaries)} boundaries, "
            "expected one rate more than boundaries."
        )
    if any(boundary < 0 for boundary in boundaries) or sorted(set(boundaries)) != boundaries:
        raise ValueError(
            f"manual_steps: boundaries are {boundaries}, expected steps >= 0 in ascending order."
        )
    if warmup and boundaries[:1] == [0]:
        raise ValueError(
            "manual_steps: warmup is set but the first boundary is step 0, which leaves no step to "
            "warm up in; start the schedule at a later step."
        )
    step = tf.cast(step, tf.int64)
    passed = step[..., tf.newaxis] >= tf.constant(boundaries, tf.int64)
    index = tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)
    rate = tf.gather(tf.constant(rates, tf.float32), index)
    if not (warmup and boundaries):
        return rate
    slope = (rates[1] - rates[0]) / boundaries[0]
    return tf.where(step < boundaries[0], rates[0] + slope * tf.cast(step, tf.float32), rate)


def cosine_decay(
    step: Step,
    *,
    learning_rate_base: float,
    total_steps: int,
    warmup_learning_rate: float = 0.0,
    warmup_steps: int = 0,
    hold_base_rate_steps: int = 0,
) -> tf.Tensor:
    """Return half a cosine from learning_rate_base down to 0 at total_steps, and 0 after it.

    Before it: warmup_steps of linear growth from warmup_learning_rate, then hold_base_rate_steps
    at learning_rate_base.
    """
    if warmup_steps < 0 or hold_base_rate_steps < 0 or total_steps < warmup_steps:
        raise ValueError(
            f"cosine_decay: total_steps is {total_steps}, warmup_steps {warmup_steps} and "
            f"hold_base_rate_steps {hold_base_rate_steps}, expected total_steps >= warmup_steps "
            "and none below 0."
        )
    if warmup_steps > 0 and learning_rate_base < warmup_learning_rate:
        raise ValueError(
            f"cosine_decay: warmup_learning_rate {warmup_learning_rate} is greater than "
            f"learning_rate_base {learning_rate_base}; a warm-up must rise."
        )
    step = tf.cast(step, tf.int64)
    decay_start = warmup_steps + hold_base_rate_steps
    # total_steps may end before the decay starts; then there is no decay, and no division by 0.
    progress = tf.cast(step - decay_start, tf.float32) / max(total_steps - decay_start, 1)
    decayed = 0.5 * learning_rate_base * (1.0 + tf.cos(math.pi * progress))
    rate = tf.where(step > decay_start, decayed, learning_rate_base)
    if warmup_steps > 0:
        slope = (learning_rate_base - warmup_learning_rate) / warmup_steps
        warming = warmup_learning_rate + slope * tf.cast(step, tf.float32)
        rate = tf.where(step < warmup_steps, warming, rate)
    return tf.where(step > total_steps, 0.0, rate)


_FUNCTIONS: dict[str, Callable[..., tf.Tensor]] = {
    function.__name__: function
    for function in (constant, exponential_decay, manual_steps, cosine_decay)
}


@keras.saving.register_keras_serializable(package="object_detection_mtl")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A function of this module with its arguments, for a Keras optimizer."""

    def __init__(self, function: str, **arguments: Any):
        if function not in _FUNCTIONS:
            raise ValueError(
                f"Schedule: {function!r} is unknown, expected one of {', '.join(_FUNCTIONS)}."
            )
        super().__init__()
        self.function = function
        self.arguments = arguments
        self(0)  # wrong arguments fail here, with their names, not in the first training step

    def __call__(self, step: Step) -> tf.Tensor:
        """Return the rate at a step."""
        return _FUNCTIONS[self.function](tf.convert_to_tensor(step), **self.arguments)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"function": self.function, **self.arguments}
