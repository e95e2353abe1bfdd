"""Failures of a training step that come from its data."""

from __future__ import annotations

import tensorflow as tf


class TrainingDataError(ValueError):
    """An unusable example: a corrupt record, a class outside the label map."""


def is_from_data(error: tf.errors.OpError) -> bool:
    """Return whether reading the batch failed, so that nothing of the step was computed."""
    return "IteratorGetNext" in error.message
