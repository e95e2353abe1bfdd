"""Build optimizers and learning rates from their configs."""

from __future__ import annotations

import keras

from object_detection_mtl.protos import optimizer_pb2
from object_detection_mtl.training import optimizers
from object_detection_mtl.training.schedules import Schedule


def build(config: optimizer_pb2.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer of a config, without clipping, which the training step does.

    With `use_moving_average` it also keeps an exponential average of every trained variable.
    Training uses the variables; evaluation and export can use the averages.

    Raises:
        ValueError: no optimizer or no learning rate is given, or a rate schedule is impossible.
    """
    kind = config.WhichOneof("optimizer")
    if kind is None:
        raise ValueError(
            "train_config.optimizer is missing; give momentum_optimizer, adam_optimizer or "
            "rms_prop_optimizer"
        )
    chosen = getattr(config, kind)
    rate = build_schedule(chosen.learning_rate)
    averaging = {"use_ema": config.use_moving_average, "ema_momentum": config.moving_average_decay}
    if kind == "momentum_optimizer":
        return optimizers.Momentum(rate, momentum=chosen.momentum_optimizer_value, **averaging)
    if kind == "adam_optimizer":
        return optimizers.Adam(
            rate,
            beta_1=chosen.beta1,
            beta_2=chosen.beta2,
            epsilon=chosen.epsilon,
            **averaging,
        )
    if kind == "rms_prop_optimizer":
        return optimizers.RMSProp(
            rate,
            rho=chosen.decay,
            momentum=chosen.momentum_optimizer_value,
            epsilon=chosen.epsilon,
            **averaging,
        )
    raise ValueError(f"train_config.optimizer {{ {kind} }} is not supported")


def build_schedule(config: optimizer_pb2.LearningRate) -> Schedule:
    """Return the learning rate of a config as a function of the step.

    Raises:
        ValueError: no kind of learning rate is given, or its numbers are impossible.
    """
    kind = config.WhichOneof("learning_rate")
    if kind is None:
        kinds = ", ".join(field.name for field in config.DESCRIPTOR.fields)
        raise ValueError(f"the optimizer's learning_rate is missing; give one of {kinds}")
    chosen = getattr(config, kind)
    if kind == "constant_learning_rate":
        return Schedule("constant", learning_rate=chosen.learning_rate)
    if kind == "exponential_decay_learning_rate":
        return Schedule(
            "exponential_decay",
            initial_learning_rate=chosen.initial_learning_rate,
            decay_steps=chosen.decay_steps,
            decay_factor=chosen.decay_factor,
            staircase=chosen.staircase,
            burnin_learning_rate=chosen.burnin_learning_rate,
            burnin_steps=chosen.burnin_steps,
            min_learning_rate=chosen.min_learning_rate,
        )
    if kind == "manual_step_learning_rate":
        return Schedule(
            "manual_steps",
            boundaries=[entry.step for entry in chosen.schedule],
            learning_rates=[
                chosen.initial_learning_rate,
                *(entry.learning_rate for entry in chosen.schedule),
            ],
            warmup=chosen.warmup,
        )
    if kind == "cosine_decay_learning_rate":
        return Schedule(
            "cosine_decay",
            learning_rate_base=chosen.learning_rate_base,
            total_steps=chosen.total_steps,
            warmup_learning_rate=chosen.warmup_learning_rate,
            warmup_steps=chosen.warmup_steps,
            hold_base_rate_steps=chosen.hold_base_rate_steps,
        )
    raise ValueError(f"learning_rate {{ {kind} }} is not supported")
