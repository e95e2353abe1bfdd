"""Names of training losses and rates in TensorBoard, as in the OD API."""

from __future__ import annotations

from object_detection_mtl.fields import Losses

_OD_API = {
    Losses.rpn_localization: "RPNLoss/localization_loss",
    Losses.rpn_objectness: "RPNLoss/objectness_loss",
    Losses.box_localization: "BoxClassifierLoss/localization_loss",
    Losses.box_classification: "BoxClassifierLoss/classification_loss",
}

TOTAL = "Loss/total_loss"
REGULARIZATION = "Loss/regularization_loss"
GRADIENT_NORM = "gradient_norm"
LEARNING_RATE = "learning_rate"
# 1 for a step that was not applied, because a loss or the gradient was not finite.
NONFINITE = "nonfinite"
SKIPPED_STEPS = "skipped_nonfinite_steps"
SKIPPED_EXAMPLES = "skipped_corrupt_examples"
# Fraction of the steps' time in which they waited for their batch.
INPUT_WAIT = "input_wait"
STEPS_PER_SECOND = "steps_per_sec"
INPUT_IMAGES = "train_input_images"
INPUT_LABELS = "train_input_labels"


def weighted(key: str) -> str:
    """Return the name of a weighted term, by its key in `detector.loss`."""
    return f"Loss/{_OD_API.get(key, f'MTL/{key}')}"


def unweighted(key: str) -> str:
    """Return the name of an unweighted term."""
    return f"UnweightedLoss/{_OD_API.get(key, f'MTL/{key}')}"


def trained_factor(key: str) -> str:
    """Return the name of the factor that `mtl.loss_balance` trains for an auxiliary loss."""
    return f"LossFactor/MTL/{key}"
