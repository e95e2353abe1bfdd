"""Counts of skipped examples and dropped objects, and messages about the first ones.

The input pipeline counts in its graph, so that it can run in other processes. The reasons and the
places are found here: the few examples concerned are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from object_detection_mtl.fields import Batch

# Columns of Batch.issues.
SKIPPED, UNKNOWN_CLASS, INVALID_BOX, SURPLUS_BOX, CLIPPED_BOX = range(5)
NUM_ISSUES = 5
_NAMES = (
    ("corrupt example", "corrupt examples", "skipped"),
    ("object", "objects", "of unknown class dropped"),
    ("box", "boxes", "without area or not finite dropped"),
    ("box", "boxes", "above max_number_of_boxes dropped"),
    ("box", "boxes", "clipped to the image"),
)
# Names of the counts in metrics files.
KEYS = (
    "skipped_examples",
    "dropped_objects_of_unknown_class",
    "dropped_invalid_boxes",
    "dropped_surplus_boxes",
    "clipped_boxes",
)
# Examples of each kind that are read again to say more about them.
MAX_DESCRIBED = 20

# Kind of issue, number of an example -> message about it.
Describe = Callable[[int, int], str]


def count_of(issue: int, number: tf.Tensor) -> tf.Tensor:
    """Return the counts [NUM_ISSUES] of an example with `number` issues of one kind."""
    return tf.one_hot(issue, NUM_ISSUES, dtype=tf.int64) * tf.cast(number, tf.int64)


def skipped_numbers(batch: Mapping[str, Any]) -> np.ndarray:
    """Return the numbers of the corrupt examples that were skipped before those of a batch."""
    if Batch.skipped not in batch:
        return np.zeros(0, np.int64)
    padded = np.asarray(batch[Batch.skipped]).ravel()
    return padded[padded > 0] - 1


class IssueLog:
    """Totals of a run, and a message about the first examples of each kind.

    Attributes:
        totals: int64 [NUM_ISSUES].
        describe: returns a message about an example; "" for none. None: issues are counted only.
    """

    def __init__(self, describe: Describe | None = None) -> None:
        """Start with zeros.

        Args:
            describe: see above.
        """
        self.totals = np.zeros(NUM_ISSUES, np.int64)
        self.describe = describe
        self._described: list[set[int]] = [set() for _ in range(NUM_ISSUES)]
        self._messages: set[str] = set()

    def add(
        self,
        numbers: Sequence[int] | np.ndarray,
        issues: np.ndarray,
        skipped: Sequence[int] | np.ndarray = (),
    ) -> None:
        """Count the issues of examples, and log messages about the first ones.

        Args:
            numbers: number of each example.
            issues: their rows of Batch.issues, [B, NUM_ISSUES].
            skipped: numbers of the corrupt examples that were skipped before them.
        """
        self.totals += issues.sum(axis=0)
        for row, kind in np.argwhere(issues):
            if kind != SKIPPED:
                self._log(int(kind), int(numbers[row]))
        for number in skipped:
            self._log(SKIPPED, int(number))

    def add_skipped(self, number: int) -> None:
        """Count a skipped example that no later one of its pipeline reports."""
        self.totals[SKIPPED] += 1
        self._log(SKIPPED, number)

    def summary(self) -> str:
        """Return the totals as text; empty if all are 0."""
        return describe_totals(self.totals)

    def _log(self, kind: int, number: int) -> None:
        described = self._described[kind]
        if self.describe is None or number in described or len(described) >= MAX_DESCRIBED:
            return
        described.add(number)
        message = self.describe(kind, number)
        if message and message not in self._messages:
            self._messages.add(message)
            logging.warning("%s", message)
            if len(described) == MAX_DESCRIBED:
                logging.warning("Further examples of this kind are counted and not named.")


def describe_totals(totals: Sequence[int] | np.ndarray) -> str:
    """Return the numbers of issues as text, such as "2 corrupt examples skipped"."""
    parts = [
        f"{count} {names[0] if count == 1 else names[1]} {names[2]}"
        for count, names in zip(totals, _NAMES, strict=True)
        if count
    ]
    return "; ".join(parts)
