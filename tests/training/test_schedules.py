import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.training import schedules
from tests.golden.ops_cases import each_case

FUNCTIONS = {
    "constant_learning_rate": schedules.constant,
    "exponential_decay_learning_rate": schedules.exponential_decay,
    "manual_step_learning_rate": schedules.manual_steps,
    "cosine_decay_learning_rate": schedules.cosine_decay,
}
DEFAULTS = {
    "exponential_decay_learning_rate": {
        "initial_learning_rate": 0.002,
        "decay_steps": 4_000_000,
        "decay_factor": 0.95,
    }
}


def from_text(config):
    """Function and arguments of a config's text."""
    message = config.split()[0]
    arguments = dict(DEFAULTS.get(message, {}))
    if message == "manual_step_learning_rate":
        rates = re.findall(r"learning_rate: ([\d.]+)", config)
        arguments["learning_rates"] = [float(rate) for rate in rates]
        arguments["boundaries"] = [int(step) for step in re.findall(r" step: (\d+)", config)]
    else:
        for name, value in re.findall(r"(\w+): ([\d.]+)", config):
            arguments[name] = int(value) if name.endswith("steps") else float(value)
    for name, value in re.findall(r"(\w+): (true|false)", config):
        arguments[name] = value == "true"
    return FUNCTIONS[message], arguments


@each_case("learning_rate")
def test_golden(case):
    function, arguments = from_text(case.params["config"])
    rates = function(case.inputs["steps"], **arguments)
    assert rates.dtype == tf.float32
    np.testing.assert_allclose(rates, case.expected["learning_rate"], rtol=1e-5, atol=1e-9)


def test_exponential_with_burn_in():
    """Two steps of burn-in, then a tenth every three steps, not below 0.05."""
    rates = schedules.exponential_decay(
        np.arange(9),
        initial_learning_rate=1.0,
        decay_steps=3,
        decay_factor=0.1,
        burnin_learning_rate=0.5,
        burnin_steps=2,
        min_learning_rate=0.05,
    )
    np.testing.assert_allclose(rates, [0.5, 0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.05], rtol=1e-6)


def test_exponential_without_stairs():
    rates = schedules.exponential_decay(
        [0, 1, 2, 4], initial_learning_rate=1.0, decay_steps=2, decay_factor=0.25, staircase=False
    )
    np.testing.assert_allclose(rates, [1, 0.5, 0.25, 0.0625], rtol=1e-6)


def test_cosine_with_warm_up():
    rates = schedules.cosine_decay(
        [0, 4, 8, 9, 100, 101],
        learning_rate_base=1.0,
        total_steps=100,
        warmup_learning_rate=0.1,
        warmup_steps=9,
    )
    np.testing.assert_allclose(rates, [0.1, 0.5, 0.9, 1, 0, 0], atol=1e-6)


def test_cosine_with_hold():
    rates = schedules.cosine_decay(
        [0, 4, 8, 9, 10, 29, 30, 50, 70, 120],
        learning_rate_base=1.0,
        total_steps=120,
        warmup_learning_rate=0.1,
        warmup_steps=9,
        hold_base_rate_steps=20,
    )
    expected = [0.1, 0.5, 0.9, 1, 1, 1, 0.999702, 0.874255, 0.577365, 0]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_cosine_that_ends_in_its_hold():
    rates = schedules.cosine_decay(
        [0, 5, 9, 11], learning_rate_base=0.5, total_steps=10, hold_base_rate_steps=10
    )
    np.testing.assert_allclose(rates, [0.5, 0.5, 0.5, 0])


def test_manual_steps():
    rates = schedules.manual_steps(
        np.arange(10), boundaries=[2, 3, 7], learning_rates=[1.0, 2, 3, 4]
    )
    np.testing.assert_allclose(rates, [1, 1, 2, 3, 3, 3, 3, 4, 4, 4])


def test_manual_steps_with_warm_up():
    rates = schedules.manual_steps(
        np.arange(9), boundaries=[4, 6, 8], learning_rates=[0.02, 0.1, 0.01, 0.001], warmup=True
    )
    expected = [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.01, 0.01, 0.001]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("warmup", [False, True])
def test_manual_steps_without_a_step(warmup):
    rates = schedules.manual_steps([0, 9], boundaries=[], learning_rates=[0.3], warmup=warmup)
    np.testing.assert_allclose(rates, [0.3, 0.3])


def test_a_boundary_beyond_int32_and_a_long_run():
    """Steps are compared as integers: float32 could not tell 20,000,001 from its neighbour."""
    rates = schedules.manual_steps(
        tf.constant([20_000_000, 20_000_001]),
        boundaries=[20_000_001, 2**40],
        learning_rates=[3, 2, 1],
    )
    np.testing.assert_allclose(rates, [3, 2])


def schedule(name="manual_steps"):
    arguments = {
        "constant": {"learning_rate": 0.1},
        "exponential_decay": {
            "initial_learning_rate": 1.0,
            "decay_steps": 2,
            "decay_factor": 0.5,
        },
        "manual_steps": {"boundaries": [2], "learning_rates": [1.0, 0.1]},
        "cosine_decay": {"learning_rate_base": 1.0, "total_steps": 4},
    }
    return schedules.Schedule(name, **arguments[name])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0.1, 0.1, 0.1, 0.1]),
        ("exponential_decay", [1, 1, 0.5, 0.5]),
        ("manual_steps", [1, 1, 0.1, 0.1]),
        ("cosine_decay", [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_an_optimizer_follows_its_schedule(name, expected):
    """Gradients of 1, in a graph: the variable falls by the rate of each step."""
    optimizer = keras.optimizers.SGD(schedule(name))
    variable = keras.Variable([0.0])
    optimizer.build([variable])

    @tf.function
    def step():
        optimizer.apply([tf.constant([1.0])], [variable])

    values = [0.0]
    for _ in expected:
        step()
        values.append(float(variable.numpy()[0]))
    np.testing.assert_allclose(-np.diff(values), expected, rtol=1e-5)


def test_a_schedule_is_saved_with_its_arguments():
    saved = keras.optimizers.schedules.serialize(schedule())
    restored = keras.optimizers.schedules.deserialize(saved)
    assert isinstance(restored, schedules.Schedule)
    assert restored.get_config() == schedule().get_config()
    assert float(restored(5)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (
            "exponential_decay",
            {"initial_learning_rate": 1.0, "decay_steps": 0, "decay_factor": 0.5},
            "decay_steps is 0",
        ),
        ("manual_steps", {"boundaries": [2], "learning_rates": [1.0]}, "1 learning rates for 1"),
        ("manual_steps", {"boundaries": [3, 2], "learning_rates": [1.0] * 3}, r"\[3, 2\]"),
        ("manual_steps", {"boundaries": [2, 2], "learning_rates": [1.0] * 3}, r"\[2, 2\]"),
        (
            "manual_steps",
            {"boundaries": [0], "learning_rates": [1.0, 2.0], "warmup": True},
            "step 0",
        ),
        (
            "cosine_decay",
            {"learning_rate_base": 1.0, "total_steps": 5, "warmup_steps": 6},
            "warmup_steps 6",
        ),
        (
            "cosine_decay",
            {
                "learning_rate_base": 0.1,
                "total_steps": 9,
                "warmup_steps": 6,
                "warmup_learning_rate": 0.2,
            },
            "must rise",
        ),
        ("linear", {}, "'linear' is unknown, expected one of constant"),
    ],
)
def test_wrong_arguments(function, arguments, words):
    with pytest.raises(ValueError, match=words):
        schedules.Schedule(function, **arguments)
