import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.ops.sampler import sample_balanced
from tests.ops.graphs import call_with_unknown_sizes

SEED = tf.constant([3, 7])


def sample(indicator, is_positive, seed=SEED, **arguments):
    indicator, is_positive = np.atleast_2d(indicator), np.atleast_2d(is_positive)
    arguments = {"batch_size": 64, "positive_fraction": 0.5, **arguments}
    drawn = sample_balanced(
        tf.constant(indicator), tf.constant(is_positive), seed=seed, **arguments
    )
    assert drawn.dtype == tf.bool
    drawn = drawn.numpy()
    assert not (drawn & ~indicator).any()
    return drawn


def counts(drawn, is_positive):
    """Positives and negatives drawn, per image."""
    return [
        (int((image & positive).sum()), int((image & ~positive).sum()))
        for image, positive in zip(drawn, is_positive, strict=True)
    ]


def test_every_image_has_its_own_counts():
    """Plenty of both; few positives; few negatives; few candidates; no candidates."""
    rows = np.arange(300)
    is_positive = np.stack([rows >= 100, rows < 10, rows < 280, rows < 20, rows < 150])
    indicator = np.stack([rows >= 0, rows >= 0, rows >= 0, rows < 60, rows < 0])
    drawn = sample(indicator, is_positive)
    assert counts(drawn, is_positive) == [(32, 32), (10, 54), (32, 20), (20, 40), (0, 0)]


def test_a_batch_larger_than_the_candidates_takes_all():
    rng = np.random.RandomState(0)
    indicator, is_positive = rng.rand(2, 50) < 0.6, rng.rand(2, 50) < 0.5
    drawn = sample(indicator, is_positive, batch_size=100_000, positive_fraction=1.0)
    np.testing.assert_array_equal(drawn, indicator)
    drawn = sample(indicator, is_positive, batch_size=100_000)
    np.testing.assert_array_equal(drawn, indicator)


def test_the_fraction_is_rounded_down():
    is_positive = np.arange(100)[np.newaxis] < 50
    drawn = sample(np.ones([1, 100], bool), is_positive, batch_size=7, positive_fraction=0.25)
    assert counts(drawn, is_positive) == [(1, 6)]


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, (0, 20)), (1.0, (20, 0))])
def test_extreme_fractions(fraction, expected):
    is_positive = np.arange(100)[np.newaxis] < 50
    drawn = sample(np.ones([1, 100], bool), is_positive, batch_size=20, positive_fraction=fraction)
    assert counts(drawn, is_positive) == [expected]


def test_without_batch_size_all_positives_and_a_share_of_negatives():
    rows = np.arange(300)
    is_positive = np.stack([rows < 40, rows < 10, rows < 290, rows < 0])
    drawn = sample(np.ones([4, 300], bool), is_positive, batch_size=None, positive_fraction=0.25)
    assert counts(drawn, is_positive) == [(40, 120), (10, 30), (290, 10), (0, 0)]


def test_a_batch_of_none():
    assert not sample(np.ones([1, 9], bool), np.ones([1, 9], bool), batch_size=0).any()


@pytest.mark.parametrize("shape", [(2, 0), (0, 5)])
def test_no_candidates(shape):
    assert sample(np.ones(shape, bool), np.ones(shape, bool)).shape == shape


def test_the_seed_decides():
    indicator, is_positive = np.ones([1, 200], bool), np.arange(200) < 100
    first = sample(indicator, is_positive)
    np.testing.assert_array_equal(sample(indicator, is_positive), first)
    assert (sample(indicator, is_positive, seed=tf.constant([3, 8])) != first).any()


def test_images_of_a_batch_are_drawn_independently():
    indicator, is_positive = np.ones([2, 200], bool), np.tile(np.arange(200) < 100, [2, 1])
    drawn = sample(indicator, is_positive)
    assert (drawn[0] != drawn[1]).any()


def test_everyone_is_drawn_equally_often():
    """400 images at once: each of 20 candidates is drawn in about half of them."""
    is_positive = np.tile(np.arange(20) < 10, [400, 1])
    drawn = sample(np.ones([400, 20], bool), is_positive, batch_size=10)
    frequency = drawn.mean(axis=0)
    # Five standard deviations of a mean of 400 fair coins.
    np.testing.assert_allclose(frequency, 0.5, atol=5 * 0.5 / 20)


def test_the_same_in_a_graph_without_sizes():
    rng = np.random.RandomState(1)
    indicator, is_positive = rng.rand(3, 90) < 0.8, rng.rand(3, 90) < 0.3

    def run(indicator, is_positive):
        return sample_balanced(
            indicator, is_positive, batch_size=16, positive_fraction=0.5, seed=SEED
        )

    actual = call_with_unknown_sizes(run, indicator, is_positive, known_axes=0)
    np.testing.assert_array_equal(actual, run(indicator, is_positive))


def test_xla_draws_the_same_sample():
    rng = np.random.RandomState(2)
    indicator, is_positive = rng.rand(2, 30) < 0.8, rng.rand(2, 30) < 0.3

    def run(indicator, is_positive, seed):
        return sample_balanced(
            indicator, is_positive, batch_size=16, positive_fraction=0.5, seed=seed
        )

    arguments = (tf.constant(indicator), tf.constant(is_positive), tf.constant([1, 2]))
    drawn = tf.function(run, autograph=False)(*arguments).numpy()
    assert drawn.sum() == 2 * 16
    np.testing.assert_array_equal(
        tf.function(run, jit_compile=True, autograph=False)(*arguments), drawn
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    batch_size=st.integers(0, 50),
    fraction=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_exact_counts(seed, size, batch_size, fraction):
    rng = np.random.RandomState(seed)
    indicator, is_positive = rng.rand(2, size) < 0.7, rng.rand(2, size) < 0.5
    drawn = sample(
        indicator, is_positive, batch_size=batch_size, positive_fraction=fraction, seed=[seed, 0]
    )
    for image, (positives, negatives) in enumerate(counts(drawn, is_positive)):
        there = indicator[image] & is_positive[image]
        assert positives == min(int(batch_size * fraction), there.sum())
        assert negatives == min(batch_size - positives, (indicator[image] & ~there).sum())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"positive_fraction": 1.5}, "1.5"),
        ({"batch_size": -1}, "-1"),
        ({"batch_size": None, "positive_fraction": 0.0}, "infinite"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        sample(np.ones([1, 3], bool), np.ones([1, 3], bool), **arguments)
