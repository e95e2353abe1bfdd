"""`Optimizer` messages -> optimizers."""

import numpy as np
import pytest
from google.protobuf import text_format

from object_detection_mtl.builders import optimizer_builder
from object_detection_mtl.protos import optimizer_pb2
from object_detection_mtl.training import optimizers

CONSTANT = "learning_rate { constant_learning_rate { learning_rate: 0.25 } }"


def build(text):
    return optimizer_builder.build(text_format.Parse(text, optimizer_pb2.Optimizer()))


def rates(text, steps):
    config = text_format.Parse(text, optimizer_pb2.LearningRate())
    schedule = optimizer_builder.build_schedule(config)
    return [float(schedule(step)) for step in steps]


def test_momentum():
    optimizer = build(f"momentum_optimizer {{ {CONSTANT} momentum_optimizer_value: 0.5 }}")
    assert isinstance(optimizer, optimizers.Momentum)
    assert optimizer.momentum == 0.5
    assert not optimizer.nesterov
    assert float(optimizer.learning_rate) == 0.25
    assert optimizer.clipnorm is optimizer.global_clipnorm is optimizer.clipvalue is None


def test_adam():
    optimizer = build(f"adam_optimizer {{ {CONSTANT} epsilon: 0.5 beta1: 0.75 beta2: 0.875 }}")
    assert isinstance(optimizer, optimizers.Adam)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.75, 0.875, 0.5)
    default = build(f"adam_optimizer {{ {CONSTANT} }}")
    np.testing.assert_allclose(
        [default.beta_1, default.beta_2, default.epsilon], [0.9, 0.999, 1e-8], rtol=1e-6
    )


def test_rms_prop():
    optimizer = build(
        f"rms_prop_optimizer {{ {CONSTANT} decay: 0.5 momentum_optimizer_value: 0.25 epsilon: 2 }}"
    )
    assert isinstance(optimizer, optimizers.RMSProp)
    assert (optimizer.rho, optimizer.momentum, optimizer.epsilon) == (0.5, 0.25, 2.0)
    assert not optimizer.centered


def test_moving_average():
    on = build(f"momentum_optimizer {{ {CONSTANT} }} moving_average_decay: 0.75")
    assert on.use_ema
    assert on.ema_momentum == 0.75
    assert not on.ema_overwrite_frequency  # training goes on with the variables themselves
    off = build(f"momentum_optimizer {{ {CONSTANT} }} use_moving_average: false")
    assert not off.use_ema


def test_schedules():
    manual = """manual_step_learning_rate {
      initial_learning_rate: 0.5
      schedule { step: 10 learning_rate: 0.25 }
      schedule { step: 20 learning_rate: 0.125 }
    }"""
    assert rates(manual, (0, 9, 10, 19, 20, 1000)) == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    exponential = """exponential_decay_learning_rate {
      initial_learning_rate: 1.0 decay_steps: 3 decay_factor: 0.1 burnin_learning_rate: 0.5
      burnin_steps: 2 min_learning_rate: 0.05
    }"""
    np.testing.assert_allclose(
        rates(exponential, range(9)), [0.5, 0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.05], rtol=1e-6
    )
    cosine = """cosine_decay_learning_rate {
      learning_rate_base: 1.0 total_steps: 100 warmup_learning_rate: 0.1 warmup_steps: 9
    }"""
    np.testing.assert_allclose(rates(cosine, (0, 4, 8, 9, 100)), [0.1, 0.5, 0.9, 1, 0], atol=1e-6)
    assert rates("constant_learning_rate {}", (0, 7)) == pytest.approx([0.002, 0.002])


def test_the_rate_follows_the_optimizers_own_step():
    optimizer = build(
        """momentum_optimizer { learning_rate { manual_step_learning_rate {
             initial_learning_rate: 0.5 schedule { step: 3 learning_rate: 0.25 } } } }"""
    )
    assert float(optimizer.learning_rate) == 0.5
    optimizer.iterations.assign(3)
    assert float(optimizer.learning_rate) == 0.25


def test_missing_fields_are_named():
    with pytest.raises(ValueError, match="optimizer is missing; give momentum_optimizer"):
        build("use_moving_average: false")
    with pytest.raises(ValueError, match="learning_rate is missing; give one of constant_learning"):
        build("adam_optimizer {}")
