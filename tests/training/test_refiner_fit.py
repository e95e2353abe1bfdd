"""Fit of a refiner to made-up proposals."""

import numpy as np
import pytest

from object_detection_mtl.evaluation.refiner_inputs import RefinerInputs
from object_detection_mtl.training import refiner_fit
from object_detection_mtl.training.refiner_fit import FitOptions


def proposals(num_images=60, seed=0, informative=True):
    """Ten proposals an image; the window logits say which of the two classes an object has."""
    rng = np.random.default_rng(seed)
    images = np.repeat(np.arange(num_images), 10)
    classes = rng.choice(3, size=len(images), p=[0.6, 0.2, 0.2])
    objectness = np.where(classes > 0, 1.0, -1.0) + rng.normal(size=len(images)) * 0.3
    main = np.stack([-objectness, objectness, objectness], axis=1) * 2
    hint = (classes == 2) * 1.0 - (classes == 1) if informative else np.zeros(len(images))
    windows = 30.0 + 5.0 * np.stack([hint, rng.normal(size=len(images))], axis=1)
    windows += rng.normal(size=windows.shape)
    groups = {"main": main, "window": windows}
    groups = {name: values.astype(np.float32) for name, values in groups.items()}
    refined = (main + [0.0, 0.0, 1.0]).astype(np.float32)  # prefers class 2 without a reason
    return RefinerInputs(groups, refined, classes, images)


def test_a_fit_finds_what_the_windows_know():
    fit = refiner_fit.fit_refiner(*refiner_fit.split_images(proposals()))
    assert fit.helps
    assert fit.num_images == (48, 12)
    assert fit.num_proposals == (480, 120)
    for measured in (fit.fitted, fit.held_out):
        assert measured["refitted"].accuracy > 0.95
        assert measured["as trained"].accuracy < 0.7
        losses = [measured[n].cross_entropy for n in ("refitted", "main logits", "as trained")]
        assert losses == sorted(losses)


def test_the_linear_function_takes_raw_inputs():
    given = proposals()
    linear, _ = refiner_fit.fit_groups(given, FitOptions(l2=1e-3))
    logits = given.inputs() @ linear.kernel + linear.bias + given.main
    objects = given.classes > 0
    assert (logits.argmax(axis=1) == given.classes)[objects].mean() > 0.95


def test_a_fit_that_has_nothing_to_find_does_not_help():
    given = proposals(informative=False)
    calibrated = np.log([0.1, 0.45, 0.45]) * np.ones((len(given.classes), 3))
    calibrated[given.classes == 0] = np.log([0.98, 0.01, 0.01])
    exact = RefinerInputs(
        {"main": calibrated, "noise": np.random.default_rng(0).normal(size=(600, 40))},
        calibrated,
        given.classes,
        given.images,
    )
    fitted, held_out = refiner_fit.split_images(exact)
    fit = refiner_fit.fit_refiner(fitted, held_out, FitOptions(l2=1e-6))
    assert fit.fitted["refitted"].cross_entropy < fit.fitted["as trained"].cross_entropy
    assert not fit.helps


def test_what_is_removable_by_inputs():
    found = refiner_fit.removable(proposals())
    assert list(found) == ["main", "main + window"]
    assert found["main + window"].accuracy > 0.95
    assert found["main"].accuracy < 0.7


def test_weights_by_hand():
    classes = np.array([0, 0, 0, 2])
    np.testing.assert_allclose(refiner_fit.row_weights(classes, None), [1, 1, 1, 1])
    np.testing.assert_allclose(refiner_fit.row_weights(classes, 0.5), [2 / 3, 2 / 3, 2 / 3, 2])
    with pytest.raises(ValueError, match="expected both kinds"):
        refiner_fit.row_weights(np.zeros(3, int), 0.5)


def test_measures_by_hand():
    main = np.log([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]])
    given = RefinerInputs({"main": main}, main, np.array([0, 1, 2]), np.arange(3))
    fit = refiner_fit.class_fit(main, given, FitOptions())
    assert fit.cross_entropy == pytest.approx(-np.log([0.5, 0.7, 0.1]).mean())
    assert fit.accuracy == 0.5
