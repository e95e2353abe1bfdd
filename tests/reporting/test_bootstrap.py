import numpy as np
import pytest

from object_detection_mtl.reporting.bootstrap import (
    paired_differences,
    resample_images,
    weighted_ap,
)
from object_detection_mtl.reporting.object_matching import match_images
from object_detection_mtl.reporting.score_curves import class_curve
from tests.reporting.hand_made import CAT, DOG, FAR, A, image, random_set


def test_every_resample_draws_as_many_images_as_there_are():
    drawn = resample_images(7, 50, seed=1)
    assert drawn.shape == (50, 7)
    assert set(drawn.sum(axis=1)) == {7}
    assert (resample_images(7, 50, seed=1) == drawn).all()
    assert (resample_images(7, 50, seed=2) != drawn).any()


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_one_give_the_average_precision(seed):
    table = match_images(random_set(seed).images)
    weights = np.ones((1, 30), int)
    for class_id in (1, 2, 3, 4):
        expected = class_curve(table, class_id).average_precision
        assert weighted_ap(table, class_id, weights)[0] == pytest.approx(expected, abs=1e-12)


def test_an_image_drawn_twice_counts_twice():
    images = [
        image([(A, CAT)], [(A, 0.9, CAT)]),
        image([(A, CAT)], [(FAR, 0.8, CAT)]),
        image([(A, DOG)], []),
    ]
    table = match_images(images)
    # Weighted 2, 1: two of three objects found with precision 1. Weighted 0, 1: none is found.
    weights = np.array([[2, 1, 0], [0, 1, 2], [0, 0, 3]])
    assert weighted_ap(table, CAT, weights)[:2].tolist() == pytest.approx([2 / 3, 0])
    assert np.isnan(weighted_ap(table, CAT, weights)[2])


def test_a_detector_does_not_differ_from_itself():
    table = match_images(random_set(1).images)
    by_class, mean = paired_differences([table], [table], [1, 2, 3, 4], 30, num_resamples=50)
    for interval in [*by_class.values(), mean]:
        assert (interval.difference, interval.low, interval.high) == (0, 0, 0)
        assert not interval.excludes_zero


def test_a_detector_that_finds_everything_is_better():
    truth = [[(A, CAT)]] * 20
    good = match_images([image(t, [(A, 0.9, CAT)]) for t in truth])
    half = match_images([image(t, [(A if i % 2 else FAR, 0.9, CAT)]) for i, t in enumerate(truth)])
    by_class, mean = paired_differences([half], [good], [CAT, DOG], 20, num_resamples=200)
    # Half finds 10 of 20 objects; precision at the end is 1/2.
    assert mean.difference == pytest.approx(1 - class_curve(half, CAT).average_precision)
    assert mean.excludes_zero
    assert 0 < mean.low < mean.difference < mean.high < 1
    assert np.isnan(by_class[DOG].difference)
    assert np.isnan(by_class[DOG].low)


def test_runs_of_several_seeds_are_averaged():
    tables = [match_images(random_set(seed).images[:1] * 3) for seed in (1, 2)]
    pooled, _ = paired_differences(tables, [tables[0]], [1, 2, 3, 4], 3, num_resamples=10)
    for class_id, interval in pooled.items():
        values = [class_curve(table, class_id).average_precision for table in tables]
        expected = values[0] - np.mean(values)
        assert interval.difference == pytest.approx(expected, nan_ok=True)


def test_impossible_arguments_are_refused():
    table = match_images([])
    with pytest.raises(ValueError, match="no run"):
        paired_differences([], [table], [1], 0)
    with pytest.raises(ValueError, match="level is 1.5"):
        paired_differences([table], [table], [1], 0, level=1.5)
