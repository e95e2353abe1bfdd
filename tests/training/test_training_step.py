"""One training step with numbers worked out on paper (see linear.py for the model)."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Batch, Losses
from object_detection_mtl.mtl.loss_balance import UncertaintyBalance
from object_detection_mtl.training import summary_names
from object_detection_mtl.training.training_step import TrainingStep, non_finite_term
from tests.training import tiny
from tests.training.linear import batch, make_model, one_device

LOCALIZATION = "Loss/RPNLoss/localization_loss"
CLASSIFICATION = "Loss/BoxClassifierLoss/classification_loss"


def run(model, data, steps=1):
    """Trains in a graph on one device; returns the scalars of the last step."""
    with one_device() as strategy:
        model = model()
        model.optimizer.build(list(model.trained.values()))
        step_fn = TrainingStep(
            model.detector, model.optimizer, list(model.trained.values()), model.step_options
        )
        compiled = tf.function(
            lambda step: strategy.run(step_fn, args=(data, step)), autograph=False
        )
        for step in range(steps):
            scalars = compiled(tf.constant(step, tf.int64))
    return model.detector, {name: float(value) for name, value in scalars.items()}


def test_weights_are_applied_once_and_everything_is_logged():
    # x = (1, .5, 0) -> w.x = 2; x = (.5, .5, 0) -> 1.5.  Loss (4 + 2.25) / 2 / 2 = 1.5625.
    _, scalars = run(make_model, batch(1, 0))
    assert scalars[LOCALIZATION] == pytest.approx(2 * 1.5625)
    assert scalars["UnweightedLoss/RPNLoss/localization_loss"] == pytest.approx(1.5625)
    assert scalars[CLASSIFICATION] == 0.0
    assert scalars[summary_names.REGULARIZATION] == pytest.approx(0.5)
    assert scalars[summary_names.TOTAL] == pytest.approx(3.125 + 0.5)


def test_the_update_is_the_weighted_gradient():
    # One image, x = (1, .5, 0), w.x = 2: dL/dw = 2 * 2 * x = (4, 2, 0); dL/db = 3.
    detector, scalars = run(make_model, batch(1))
    np.testing.assert_allclose(detector.w, [1 - 0.4, 2 - 0.2, 0.0], rtol=1e-6)
    np.testing.assert_allclose(detector.b, [-0.3], rtol=1e-6)
    np.testing.assert_array_equal(detector.f, [1.0, 1.0])
    assert scalars[summary_names.GRADIENT_NORM] == pytest.approx(np.sqrt(16 + 4 + 9))


def test_clipping_and_multipliers_in_this_order():
    # Gradients (4, 2, 0) and 3, the bias doubled: norm of all sqrt(20 + 36) before clipping.
    norm = np.sqrt(56)
    detector, scalars = run(
        lambda: make_model(clip_norm=1.0, gradient_multipliers=[1.0, 2.0]), batch(1)
    )
    assert scalars[summary_names.GRADIENT_NORM] == pytest.approx(norm)
    np.testing.assert_allclose(detector.w, [1 - 0.4 / norm, 2 - 0.2 / norm, 0.0], rtol=1e-6)
    np.testing.assert_allclose(detector.b, [-0.6 / norm], rtol=1e-6)
    detector, _ = run(lambda: make_model(clip_norm=1.0, clip_per_variable=True), batch(1))
    np.testing.assert_allclose(
        detector.w, [1 - 0.4 / np.sqrt(20), 2 - 0.2 / np.sqrt(20), 0.0], rtol=1e-6
    )
    np.testing.assert_allclose(detector.b, [-0.1], rtol=1e-6)


def test_regularization_may_be_off():
    _, scalars = run(lambda: make_model(add_regularization=False), batch(1))
    assert summary_names.REGULARIZATION not in scalars
    assert scalars[summary_names.TOTAL] == pytest.approx(4.0)


def test_random_samples_come_from_seed_and_step():
    def losses(seed):
        model = lambda: make_model({"noise": 1.0}, rate=0.0, seed=seed)  # noqa: E731
        return [run(model, batch(0), steps)[1][LOCALIZATION] for steps in (1, 2)]

    first = losses(7)
    assert first == losses(7)
    assert first[0] != first[1]
    assert not set(first) & set(losses(8))
    assert losses(2**32 - 1) != first  # every unsigned seed of a config is one


def test_a_non_finite_term_is_named_and_changes_no_weight():
    data = batch(1)
    data[Batch.inputs] = data[Batch.inputs] * np.float32("inf")
    with one_device() as strategy:
        model = make_model()
        model.optimizer.build(list(model.trained.values()))
        step_fn = TrainingStep(
            model.detector, model.optimizer, list(model.trained.values()), model.step_options
        )
        compiled = tf.function(
            lambda: strategy.run(step_fn, args=(data, tf.constant(0, tf.int64))), autograph=False
        )
        with pytest.raises(tf.errors.InvalidArgumentError) as failure:
            compiled()
    assert non_finite_term(failure.value) in (
        LOCALIZATION,
        "UnweightedLoss/RPNLoss/localization_loss",
        summary_names.TOTAL,
        summary_names.GRADIENT_NORM,
    )
    np.testing.assert_array_equal(model.detector.w, [1.0, 2.0, 0.0])
    np.testing.assert_array_equal(model.detector.b, [0.0])
    assert non_finite_term(ValueError("something else")) is None


def test_a_gradient_that_is_not_finite_is_found_before_it_does_harm():
    # sqrt(w0 - 1) is 0 with an infinite slope: the loss alone looks healthy.
    with one_device() as strategy:
        model = make_model()
        detector = model.detector
        detector.loss = lambda *_, **__: {"odd": tf.sqrt(detector.w[0] - 1.0)}
        detector.loss_weights = {"odd": 1.0}
        model.optimizer.build(list(model.trained.values()))
        step_fn = TrainingStep(detector, model.optimizer, [detector.w], model.step_options)
        compiled = tf.function(
            lambda: strategy.run(step_fn, args=(batch(1), tf.constant(0, tf.int64))),
            autograph=False,
        )
        with pytest.raises(tf.errors.InvalidArgumentError) as failure:
            compiled()
    assert non_finite_term(failure.value) == summary_names.GRADIENT_NORM
    np.testing.assert_array_equal(detector.w, [1.0, 2.0, 0.0])


def test_a_real_detector_learns_its_batch():
    with one_device() as strategy:
        detector = tiny.tiny_detector()
        optimizer = make_model(rate=0.05).optimizer
        optimizer.build(detector.trainable_variables)
        step_fn = TrainingStep(
            detector, optimizer, detector.trainable_variables, make_model().step_options
        )
        data = {key: value for key, value in tiny.batch(0, 1).items() if value.dtype != tf.string}
        compiled = tf.function(
            lambda step: strategy.run(step_fn, args=(data, step)), autograph=False
        )
        totals = [float(compiled(tf.constant(i, tf.int64))[summary_names.TOTAL]) for i in range(60)]
    assert np.mean(totals[-10:]) < 0.5 * np.mean(totals[:3])


def replica_results(part):
    """Return the numbers of one device and of two, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.replicas", part],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return json.loads(line.removeprefix("RESULT"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["SUM", pytest.param("PROJECT", marks=pytest.mark.long)])
def test_two_replicas_do_what_one_does(form):
    """The batch size is global: losses, norms, clipping and updates do not see the devices."""
    one, two = replica_results(form)
    # Weights are differences of numbers around 1, whose last bit is 1.2e-7.
    np.testing.assert_allclose(one, two, rtol=1e-6, atol=2.4e-7)


def test_trained_weights_of_auxiliary_losses():
    """The window loss is w0 + w1 = 3; its log variance starts at 0 and is trained."""
    with one_device() as strategy:
        model = make_model({"auxiliary": (1.0, 1.0, 0.0)}, rate=0.1)
        detector = model.detector
        detector.loss_balance = UncertaintyBalance({Losses.window: 1.0})
        variable = detector.loss_balance.log_variances[Losses.window]
        trained = [detector.w, detector.b, variable]
        model.optimizer.build(trained)
        step_fn = TrainingStep(detector, model.optimizer, trained, model.step_options)
        scalars = strategy.run(step_fn, args=(batch(1), tf.constant(0, tf.int64)))
        assert float(scalars["Loss/MTL/window_class_loss"]) == pytest.approx(3.0)
        assert float(scalars["LossFactor/MTL/window_class_loss"]) == pytest.approx(1.0)
        # d/ds (exp(-s) 3 + s / 2) = -3 + 1/2
        np.testing.assert_allclose(variable, 0.25, rtol=1e-6)
        # w without the window's loss: (0.6, 1.8, 0); its gradient on w is exp(-s) = 1.
        np.testing.assert_allclose(detector.w, [0.5, 1.7, 0.0], rtol=1e-5)
        scalars = strategy.run(step_fn, args=(batch(1), tf.constant(1, tf.int64)))
        expected = np.exp(-0.25) * 2.2 + 0.125
        assert float(scalars["Loss/MTL/window_class_loss"]) == pytest.approx(expected)
        assert float(scalars["UnweightedLoss/MTL/window_class_loss"]) == pytest.approx(2.2)


@pytest.mark.slow
def test_two_replicas_draw_the_random_samples_of_one():
    """Two images on one device, or one on each of two; the detector samples at random."""
    one, *others = replica_results("SAMPLING")
    assert len(others) == 2
    for two in others:
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
