"""Multinomial logistic regression, beside scikit-learn's."""

import numpy as np
import pytest

from object_detection_mtl.ops import logistic_regression
from object_detection_mtl.ops.logistic_regression import LinearLogits

NUM_CLASSES = 3


def sample(rows, seed=0):
    """Rows of four inputs whose classes follow a known linear function."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, 4)) * [1.0, 3.0, 0.3, 1.0]
    truth = LinearLogits(rng.normal(size=(4, NUM_CLASSES)), np.array([1.0, 0.0, -1.0]))
    noise = rng.gumbel(size=(rows, NUM_CLASSES))
    return inputs, (truth.logits(inputs) + noise).argmax(axis=1)


@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn_finds_the_same(weighted):
    linear_model = pytest.importorskip("sklearn.linear_model")
    inputs, classes = sample(400)
    weights = np.where(classes == 1, 2.5, 0.5) if weighted else np.ones(400)
    l2 = 0.03
    ours = logistic_regression.fit(inputs, classes, num_classes=NUM_CLASSES, l2=l2, weights=weights)
    # Its objective is C times the sum of the losses plus half the squared kernel.
    theirs = linear_model.LogisticRegression(C=1 / (l2 * weights.sum()), tol=1e-8, max_iter=2000)
    theirs.fit(inputs, classes, sample_weight=weights)
    np.testing.assert_allclose(ours.kernel, theirs.coef_.T, atol=1e-4)
    # The softmax does not see a number that is added to all logits.
    np.testing.assert_allclose(
        ours.bias - ours.bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4
    )


def test_offsets_that_explain_everything_leave_nothing_to_fit():
    rng = np.random.default_rng(0)
    offsets = rng.normal(size=(20000, NUM_CLASSES)) * 2
    classes = (offsets + rng.gumbel(size=offsets.shape)).argmax(axis=1)
    found = logistic_regression.fit(
        offsets, classes, num_classes=NUM_CLASSES, l2=0.0, offsets=offsets
    )
    np.testing.assert_allclose(found.kernel, 0.0, atol=0.06)
    without = logistic_regression.fit(offsets, classes, num_classes=NUM_CLASSES, l2=0.0)
    # Without offsets the identity is found, but for a constant in every row.
    centered = without.kernel - without.kernel.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centered, np.eye(3) - 1 / 3, atol=0.06)


def test_a_strong_regularization_leaves_the_frequencies():
    inputs, classes = sample(300)
    found = logistic_regression.fit(inputs, classes, num_classes=NUM_CLASSES, l2=1e6)
    np.testing.assert_allclose(found.kernel, 0.0, atol=1e-5)
    odds = np.exp(found.bias)
    np.testing.assert_allclose(odds / odds.sum(), np.bincount(classes) / 300, atol=1e-4)


def test_cross_entropy_by_hand():
    logits = np.log([[1.0, 1.0, 2.0], [8.0, 1.0, 1.0]])
    losses = logistic_regression.cross_entropies(logits, np.array([2, 1]))
    np.testing.assert_allclose(losses, [np.log(2), np.log(10)])


def test_no_weight_is_an_error():
    with pytest.raises(ValueError, match="no row has a weight above 0"):
        logistic_regression.fit(
            np.ones((2, 1)), np.zeros(2, int), num_classes=2, l2=1, weights=[0, 0]
        )


class TestCrossValidation:
    def test_the_rows_of_a_group_are_in_one_fold(self):
        groups = np.repeat(np.arange(10), 3)
        folds = logistic_regression.fold_of_rows(groups, 5)
        assert np.bincount(folds).tolist() == [6] * 5
        assert all(len(set(folds[groups == group])) == 1 for group in range(10))

    def test_too_few_groups(self):
        with pytest.raises(ValueError, match="3 folds needs as many images .* there are 2"):
            logistic_regression.fold_of_rows(np.array([4, 4, 9]), 3)

    def test_noise_asks_for_a_stronger_regularization_than_signal(self):
        rng = np.random.default_rng(1)
        inputs, classes = sample(120)
        chosen = []
        for targets in (classes, rng.integers(NUM_CLASSES, size=120)):
            l2, logits = logistic_regression.choose_l2(
                inputs,
                targets,
                np.arange(120),
                num_classes=NUM_CLASSES,
                candidates=(1e-3, 1.0, 1e3),
                num_folds=4,
            )
            chosen.append(l2)
            assert logits.shape == (120, NUM_CLASSES)
        assert chosen[0] == 1e-3
        assert chosen[1] > 1e-3

    def test_logits_of_a_row_come_from_the_other_folds(self):
        """One group has its own class: only rows of the same group could tell."""
        inputs = np.eye(4)[np.repeat([0, 1, 2, 3], 5)]
        classes = np.repeat([0, 0, 0, 1], 5)
        _, logits = logistic_regression.choose_l2(
            inputs, classes, inputs.argmax(axis=1), num_classes=2, candidates=[1e-3], num_folds=4
        )
        assert (logits[-5:].argmax(axis=1) == 0).all()
