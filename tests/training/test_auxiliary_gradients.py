"""Forms of auxiliary gradients, their warm-up and their measures, by hand (see linear.py)."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.training import auxiliary_gradients, summary_names
from object_detection_mtl.training.training_step import TrainingStep
from tests.training.linear import batch, make_model, one_device

# Of image 1, w.x = 2: d/dw = 2 * 2 * x = (4, 2, 0), d/db = 3; the auxiliary loss adds (-2, 0, 1).
MAIN, AUXILIARY = (4.0, 2.0, 0.0), (-2.0, 0.0, 1.0)


def vectors(*values):
    return [None if value is None else tf.constant(value) for value in values]


def test_a_conflicting_gradient_loses_its_part_along_the_main_one():
    # a.m = -8, m.m = 20: a + 0.4 m = (-0.4, 0.8, 1), which is orthogonal to m.
    combined = auxiliary_gradients.combine(vectors(MAIN), vectors(AUXILIARY), "PROJECT")
    np.testing.assert_allclose(combined[0], [3.6, 2.8, 1.0], rtol=1e-6)


def test_a_gradient_without_conflict_is_added():
    combined = auxiliary_gradients.combine(vectors(MAIN), vectors((1.0, 0.0, 1.0)), "PROJECT")
    np.testing.assert_array_equal(combined[0], [5.0, 2.0, 1.0])


def test_conflict_is_judged_on_all_shared_variables_together():
    # (1, -2).(1, 0) + 2.(-1) = -1; m.m = 5: along = -0.2.
    main, auxiliary = vectors((1.0, 0.0), (2.0,)), vectors((1.0, -2.0), (-1.0,))
    combined = auxiliary_gradients.combine(main, auxiliary, "PROJECT")
    np.testing.assert_allclose(combined[0], [1 + 1 + 0.2, -2.0], rtol=1e-6)
    np.testing.assert_allclose(combined[1], [2 - 1 + 0.4], rtol=1e-6)


def test_the_sum_keeps_the_norm_of_the_main_gradient():
    # The sum (2, 2, 1) has norm 3, the main gradient sqrt(20).
    combined = auxiliary_gradients.combine(vectors(MAIN), vectors(AUXILIARY), "NORM_OF_MAIN")
    np.testing.assert_allclose(combined[0], np.array([2, 2, 1]) * np.sqrt(20) / 3, rtol=1e-6)


@pytest.mark.parametrize("form", auxiliary_gradients.FORMS)
def test_variables_that_are_not_shared_and_zero_gradients(form):
    main, auxiliary = vectors((1.0,), None, (0.0,), None), vectors(None, (2.0,), (3.0,), None)
    combined = auxiliary_gradients.combine(main, auxiliary, form)
    np.testing.assert_array_equal(combined[0], [1.0])
    np.testing.assert_array_equal(combined[1], [2.0])
    # The only shared variable: a main gradient of 0 has the norm 0, and no direction to conflict.
    np.testing.assert_array_equal(combined[2], [0.0 if form == "NORM_OF_MAIN" else 3.0])
    assert combined[3] is None


def test_ramp():
    def ramp(start, num_steps):
        return [float(auxiliary_gradients.ramp(tf.constant(s), start, num_steps)) for s in range(6)]

    assert ramp(0, 0) == [1, 1, 1, 1, 1, 1]
    assert ramp(2, 0) == [0, 0, 1, 1, 1, 1]
    assert ramp(1, 4) == [0, 0.25, 0.5, 0.75, 1, 1]


def run(steps=1, measure=False, rate=0.1, **options):
    """Train on image 1; return the detector and the scalars of the last step."""
    with one_device() as strategy:
        model = make_model({"auxiliary": AUXILIARY}, rate=rate, **options)
        model.optimizer.build(list(model.trained.values()))
        step_fn = TrainingStep(
            model.detector, model.optimizer, list(model.trained.values()), model.step_options
        )
        compiled = tf.function(
            lambda step: strategy.run(step_fn, args=(batch(1), step), kwargs={"measure": measure}),
            autograph=False,
        )
        for step in range(steps):
            scalars = compiled(tf.constant(step, tf.int64))
    return model.detector, {name: float(value) for name, value in scalars.items()}


@pytest.mark.parametrize(
    ("form", "gradient"),
    [
        ("SUM", [2.0, 2.0, 1.0]),
        ("NORM_OF_MAIN", np.array([2, 2, 1]) * np.sqrt(20) / 3),
        ("PROJECT", [3.6, 2.8, 1.0]),
    ],
)
def test_the_form_decides_the_update(form, gradient):
    detector, scalars = run(auxiliary_gradients=form)
    np.testing.assert_allclose(detector.w, np.array([1, 2, 0]) - 0.1 * np.array(gradient), 1e-6)
    np.testing.assert_allclose(detector.b, [-0.3], rtol=1e-6)
    norm = np.sqrt(np.sum(np.square(gradient)) + 9)
    assert scalars[summary_names.GRADIENT_NORM] == pytest.approx(norm)


def test_multipliers_and_clipping_come_after_the_form():
    detector, _ = run(auxiliary_gradients="PROJECT", gradient_multipliers=(0.5, 1.0), clip_norm=1.0)
    gradient = 0.5 * np.array([3.6, 2.8, 1.0])
    norm = np.sqrt(np.sum(gradient**2) + 9)
    np.testing.assert_allclose(detector.w, np.array([1, 2, 0]) - 0.1 * gradient / norm, 1e-6)


def test_warm_up_scales_the_auxiliary_losses_alone():
    name = summary_names.weighted("window_class_loss")
    options = {"auxiliary_warmup_start": 1, "auxiliary_warmup_steps": 2, "rate": 0.0}
    # The auxiliary loss is w.(-2, 0, 1) = -2 with the first weights.
    for steps, expected in ((1, 0.0), (2, -1.0), (3, -2.0), (4, -2.0)):
        _, scalars = run(steps, **options)
        assert scalars[name] == pytest.approx(expected)
        assert scalars["Loss/RPNLoss/localization_loss"] == pytest.approx(4.0)
        assert scalars["UnweightedLoss/MTL/window_class_loss"] == pytest.approx(-2.0)
    detector, _ = run(auxiliary_warmup_start=1)
    np.testing.assert_allclose(detector.w, np.array([1, 2, 0]) - 0.1 * np.array(MAIN), 1e-6)


@pytest.mark.parametrize("form", auxiliary_gradients.FORMS)
def test_measures(form):
    _, scalars = run(measure=True, is_shared=(True, False), auxiliary_gradients=form)
    expected = {
        "GradientNorm/shared/RPNLoss/localization_loss": np.sqrt(20),
        "GradientNorm/shared/BoxClassifierLoss/classification_loss": 0.0,
        "GradientNorm/shared/MTL/window_class_loss": np.sqrt(5),
        "GradientNorm/shared/regularization_loss": 0.0,
        "GradientNorm/shared/main_losses": np.sqrt(20),
        "GradientNorm/heads/RPNLoss/localization_loss": 0.0,
        "GradientNorm/heads/BoxClassifierLoss/classification_loss": 3.0,
        "GradientNorm/heads/MTL/window_class_loss": 0.0,
        "GradientNorm/heads/regularization_loss": 0.0,
        "GradientCosine/RPNLoss/localization_loss": 1.0,
        "GradientCosine/BoxClassifierLoss/classification_loss": 0.0,
        "GradientCosine/MTL/window_class_loss": -0.8,
        "GradientCosine/MTL/window_class_loss/RPNLoss/localization_loss": -0.8,
        "GradientCosine/MTL/window_class_loss/BoxClassifierLoss/classification_loss": 0.0,
        "GradientCosine/regularization_loss": 0.0,
        "GradientCosine/regularization_loss/RPNLoss/localization_loss": 0.0,
        "GradientCosine/regularization_loss/BoxClassifierLoss/classification_loss": 0.0,
    }
    measured = {name: value for name, value in scalars.items() if name.startswith("Gradient")}
    assert measured == pytest.approx(expected)


def test_measuring_changes_no_update():
    plain, _ = run(3)
    measured, _ = run(3, measure=True)
    np.testing.assert_array_equal(plain.w, measured.w)
