"""Multinomial logistic regression by a quasi-Newton method (L-BFGS).

Shape letters: N rows, D inputs, C classes, G groups of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

MAX_ITERATIONS = 500
# Enough to compare strengths of the regularization.
MAX_ITERATIONS_OF_FOLD = 60
# Largest element of the gradient at which the fit ends.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class LinearLogits:
    """Logits as a linear function of inputs.

    Attributes:
        kernel: [D, C].
        bias: [C].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, inputs: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
        """Return the logits [N, C] of inputs [N, D], plus offsets [N, C] if given."""
        logits = inputs @ self.kernel.astype(inputs.dtype) + self.bias.astype(inputs.dtype)
        return logits if offsets is None else logits + offsets


def fit(
    inputs: np.ndarray,
    classes: np.ndarray,
    *,
    num_classes: int,
    l2: float,
    weights: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    start: LinearLogits | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> LinearLogits:
    """Return the function with the least cross-entropy plus `l2 / 2` times the squared kernel.

    The cross-entropy is the weighted mean over the rows. The bias is not regularized.

    Args:
        inputs: [N, D].
        classes: [N] of 0..C-1.
        num_classes: C.
        l2: strength of the regularization.
        weights: [N] of the rows; None for equal ones.
        offsets: [N, C], added to the logits.
        start: where the search starts; None for zeros.
        max_iterations: largest number of iterations.

    Raises:
        ValueError: no row with a positive weight.
    """
    weights = np.ones(len(inputs)) if weights is None else np.asarray(weights, np.float64)
    if weights.sum() <= 0:
        raise ValueError(f"logistic regression of {len(inputs)} rows: no row has a weight above 0")
    normalized = weights / weights.sum()
    shape = inputs.shape[1], num_classes

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:-num_classes].reshape(shape), flat[-num_classes:]
        logits = LinearLogits(kernel, bias).logits(inputs, offsets)
        losses, errors = _losses_and_errors(logits, classes)
        errors *= normalized[:, np.newaxis]
        slopes = inputs.T @ errors.astype(inputs.dtype)
        gradient = np.concatenate([(slopes + l2 * kernel).ravel(), errors.sum(axis=0)])
        return float(normalized @ losses + 0.5 * l2 * np.sum(kernel**2)), gradient

    if start is None:
        first = np.zeros((shape[0] + 1) * num_classes)
    else:
        first = np.concatenate([start.kernel.ravel(), start.bias])
    found = optimize.minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iterations, "gtol": TOLERANCE, "ftol": 1e-12, "maxcor": 20},
    )
    return LinearLogits(found.x[:-num_classes].reshape(shape), found.x[-num_classes:])


def cross_entropies(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the cross-entropy [N] of logits [N, C] with classes [N], in nats."""
    return _losses_and_errors(logits, classes)[0]


def choose_l2(
    inputs: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    *,
    num_classes: int,
    candidates: Sequence[float],
    num_folds: int,
    weights: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Choose the strength of the regularization by cross-validation over groups of rows.

    Args:
        inputs: [N, D].
        classes: [N].
        groups: [N]; rows of one group (an image) are in the same fold.
        num_classes: C.
        candidates: strengths to try.
        num_folds: number of folds.
        weights: [N]; None for equal ones.
        offsets: [N, C] or None.

    Returns:
        The best candidate, and the logits [N, C] that it gives in cross-validation: those of a row
        come from a fit without the row's fold.
    """
    folds = fold_of_rows(groups, num_folds)
    row_weights = np.ones(len(inputs)) if weights is None else weights
    best: tuple[float, float, np.ndarray] | None = None
    starts: dict[int, LinearLogits] = {}
    for l2 in sorted(candidates, reverse=True):  # A strong one is found fast and is a good start.
        logits = np.zeros((len(inputs), num_classes))
        for fold in np.unique(folds):
            kept, tested = folds != fold, folds == fold
            starts[fold] = fit(
                inputs[kept],
                classes[kept],
                num_classes=num_classes,
                l2=l2,
                weights=row_weights[kept],
                offsets=None if offsets is None else offsets[kept],
                start=starts.get(fold),
                max_iterations=MAX_ITERATIONS_OF_FOLD,
            )
            chosen = None if offsets is None else offsets[tested]
            logits[tested] = starts[fold].logits(inputs[tested], chosen)
        loss = float(np.average(cross_entropies(logits, classes), weights=row_weights))
        if best is None or loss < best[0]:
            best = loss, l2, logits
    assert best is not None
    return best[1], best[2]


def fold_of_rows(groups: np.ndarray, num_folds: int) -> np.ndarray:
    """Return the fold [N] of each row; the groups are dealt at random, the same each time.

    Raises:
        ValueError: fewer groups than folds.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < num_folds:
        raise ValueError(
            f"cross-validation in {num_folds} folds needs as many images with proposals; there "
            f"are {len(names)}. Give more images"
        )
    order = np.random.default_rng(0).permutation(len(names))
    return (order % num_folds)[numbers]


def _losses_and_errors(logits: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cross-entropies [N], and probabilities minus the one-hot classes [N, C]."""
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(classes))
    losses = np.log(totals[:, 0]) - shifted[rows, classes]
    errors = exponentials / totals
    errors[rows, classes] -= 1.0
    return losses, errors
