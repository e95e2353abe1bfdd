"""Fit of a linear refiner to collected proposals, and what it gains.

The refined logits are main logits + standardized inputs @ kernel + bias. Regularization thus pulls
towards the main logits, with and without a residue in the config.

Shape letters: N proposals, D inputs, K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation.refiner_inputs import MAIN, RefinerInputs
from object_detection_mtl.fields import ScoreSource
from object_detection_mtl.ops import logistic_regression
from object_detection_mtl.ops.logistic_regression import LinearLogits

L2_CANDIDATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NUM_FOLDS = 3
HELD_OUT_FOLDS = 5
_SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class FitOptions:
    """How a refiner is fitted.

    Attributes:
        l2: strength of the regularization on standardized inputs; None for cross-validation over
            images.
        foreground_fraction: part of the total weight that matched proposals get; None weighs every
            proposal equally, as it occurs in detection.
    """

    l2: float | None = None
    foreground_fraction: float | None = None


@dataclass(frozen=True)
class ClassFit:
    """How well class logits fit the proposals of some images.

    Attributes:
        cross_entropy: weighted mean over all proposals.
        accuracy: of the matched proposals, the background class included.
    """

    cross_entropy: float
    accuracy: float


@dataclass(frozen=True)
class RefinerFit:
    """A fitted refiner and what it gains.

    Attributes:
        linear: raw inputs [N, D] -> what is added to the main logits.
        l2: strength of the regularization.
        fitted: fit on the proposals that the refiner was fitted to, by what detects.
        held_out: the same on other images.
        num_images: images with proposals that it was fitted to, and that were held out.
        num_proposals: their proposals.
    """

    linear: LinearLogits
    l2: float
    fitted: Mapping[str, ClassFit]
    held_out: Mapping[str, ClassFit]
    num_images: tuple[int, int]
    num_proposals: tuple[int, int]

    @property
    def helps(self) -> bool:
        """Whether the refitted logits have the lower cross-entropy on the images held out."""
        refitted = self.held_out[ScoreSource.refitted]
        return refitted.cross_entropy < self.held_out[ScoreSource.as_trained].cross_entropy


def split_images(inputs: RefinerInputs) -> tuple[RefinerInputs, RefinerInputs]:
    """Return the proposals of four fifths of the images, at random, and those of the rest."""
    held_out = logistic_regression.fold_of_rows(inputs.images, HELD_OUT_FOLDS) == 0
    return inputs.of_rows(~held_out), inputs.of_rows(held_out)


def fit_refiner(
    fitted: RefinerInputs, held_out: RefinerInputs, options: FitOptions | None = None
) -> RefinerFit:
    """Fit a refiner.

    Args:
        fitted: proposals to fit to.
        held_out: proposals of other images.
        options: None for the defaults.

    Raises:
        ValueError: too few images, or none with an object where the foreground's weight is given.
    """
    options = options or FitOptions()
    linear, l2 = fit_groups(fitted, options)
    parts = {"fitted": fitted, "held_out": held_out}
    measured = {
        name: {
            ScoreSource.main_logits: class_fit(part.main, part, options),
            ScoreSource.as_trained: class_fit(part.refined, part, options),
            ScoreSource.refitted: class_fit(linear.logits(part.inputs(), part.main), part, options),
        }
        for name, part in parts.items()
    }
    return RefinerFit(
        linear,
        l2,
        **measured,
        num_images=(len(np.unique(fitted.images)), len(np.unique(held_out.images))),
        num_proposals=(len(fitted.classes), len(held_out.classes)),
    )


def fit_groups(
    given: RefinerInputs, options: FitOptions, names: tuple[str, ...] = ()
) -> tuple[LinearLogits, float]:
    """Return raw inputs of some groups (all without names) -> addition, and the L2 strength."""
    inputs, mean, deviation = _standardized(given.inputs(names))
    common = _common(given, options)
    l2 = options.l2
    if l2 is None:
        l2, _ = logistic_regression.choose_l2(
            inputs,
            given.classes,
            given.images,
            candidates=L2_CANDIDATES,
            num_folds=NUM_FOLDS,
            **common,
        )
    found = logistic_regression.fit(inputs, given.classes, l2=l2, **common)
    kernel = found.kernel / deviation[:, np.newaxis]
    return LinearLogits(kernel, found.bias - mean @ kernel), l2


def removable(given: RefinerInputs, options: FitOptions | None = None) -> dict[str, ClassFit]:
    """Return what fits to parts of the images reach on the other parts, by groups of inputs.

    The refiner reads the main logits, then those and one task's, then all.
    """
    options = options or FitOptions()
    tasks = [name for name in given.groups if name != MAIN]
    found: dict[str, ClassFit] = {}
    for names in _growing(tasks):
        inputs, _, _ = _standardized(given.inputs(names))
        _, logits = logistic_regression.choose_l2(
            inputs,
            given.classes,
            given.images,
            candidates=L2_CANDIDATES if options.l2 is None else [options.l2],
            num_folds=NUM_FOLDS,
            **_common(given, options),
        )
        found[" + ".join(names)] = class_fit(logits, given, options)
    return found


def _growing(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    sets = [(MAIN,), *((MAIN, task) for task in tasks), (MAIN, *tasks)]
    return list(dict.fromkeys(sets))


def class_fit(logits: np.ndarray, given: RefinerInputs, options: FitOptions) -> ClassFit:
    """Return how well logits [N, K + 1] fit the proposals; NaN for no (matched) proposal."""
    losses = logistic_regression.cross_entropies(logits, given.classes)
    matched = given.classes > 0
    correct = logits[matched].argmax(axis=1) == given.classes[matched]
    weights = row_weights(given.classes, options.foreground_fraction)
    loss = np.average(losses, weights=weights) if len(losses) else np.nan
    return ClassFit(float(loss), float(correct.mean()) if len(correct) else float("nan"))


def row_weights(classes: np.ndarray, foreground_fraction: float | None) -> np.ndarray:
    """Return the weight [N] of each proposal, 1 in the mean.

    Raises:
        ValueError: a fraction for proposals that are all matched, or all background.
    """
    matched = classes > 0
    if foreground_fraction is None:
        return np.ones(len(classes))
    if matched.all() or not matched.any():
        raise ValueError(
            f"foreground_fraction is {foreground_fraction}, and of {len(classes)} proposals "
            f"{int(matched.sum())} are matched with an object; expected both kinds. Give more "
            "images, or no fraction"
        )
    parts = foreground_fraction / matched.mean(), (1 - foreground_fraction) / (~matched).mean()
    return np.where(matched, *parts)


def _common(given: RefinerInputs, options: FitOptions) -> dict:
    return {
        "num_classes": given.main.shape[1],
        "weights": row_weights(given.classes, options.foreground_fraction),
        "offsets": given.main,
    }


def _standardized(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs of mean 0 and deviation 1, and the means and deviations [D].

    Raises:
        ValueError: there is no proposal.
    """
    if not len(inputs):
        raise ValueError("the images have no proposal that counts; give other records")
    mean = inputs.mean(axis=0, dtype=np.float64)
    deviation = np.maximum(inputs.std(axis=0, dtype=np.float64), _SMALLEST_DEVIATION)
    standardized = (inputs - mean.astype(inputs.dtype)) / deviation.astype(inputs.dtype)
    return standardized, mean, deviation
