"""Training steps with a NaN, infinite or exploding loss."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training.failures import NonFiniteError

MAX_NAMES = 8
# A mean loss is warned of above this, and above GROWTH times the lowest before (or 1).
HUGE_LOSS = 1e6
GROWTH = 1e3

# Steps completed before -> the batches of that step on this worker, one per replica.
LoadBatches = Callable[[int], Sequence[Mapping[str, np.ndarray]]]


class NonFiniteSteps:
    """Counter of the skipped steps of a run.

    Attributes:
        allowed: number of steps of the run that may be skipped.
    """

    def __init__(
        self,
        model_dir: str,
        allowed: int,
        skipped: tf.Variable,
        load_batches: LoadBatches,
        *,
        worker: str = "",
    ) -> None:
        """Start with the steps that earlier commands of the run skipped.

        Args:
            model_dir: gets the batches.
            allowed: number of steps of the run that may be skipped.
            skipped: int64 [], number of steps that were skipped; part of the checkpoints.
            load_batches: reads the batches of a step again.
            worker: part of the names of the files, where several workers write them.
        """
        self.allowed = allowed
        self._model_dir = model_dir
        self._skipped = skipped
        self._load_batches = load_batches
        self._worker = worker

    @property
    def skipped(self) -> int:
        """Number of steps of the run that were skipped."""
        return int(self._skipped.numpy())

    def summary(self) -> str:
        """Return the number of skipped steps as text, for progress lines; empty if it is 0."""
        if not self.skipped:
            return ""
        return f"{self.skipped} step{'s' * (self.skipped > 1)} skipped (NaN or infinite)"

    def may_skip(self) -> bool:
        """Return whether one more step may be skipped."""
        return self.skipped < self.allowed

    def skip(self, step: int, term: str) -> None:
        """Count a skipped step and report its images.

        Args:
            step: number of steps that were completed before.
            term: the first value that was not finite, by its name in TensorBoard.
        """
        self._skipped.assign_add(1)
        print(
            f"training step {step + 1} is skipped, {term} is NaN or infinite "
            f"({self.skipped} of {self.allowed} allowed).{self.describe(step)}",
            flush=True,
        )

    def explained(self, error: NonFiniteError, saved: str) -> NonFiniteError:
        """Return the error with the images of the step and advice.

        Args:
            error: error of the step.
            saved: sentence on the checkpoint, which begins with a space.
        """
        advice = self.describe(error.step) + saved
        if not error.weights_are_kept:
            pass
        elif self.allowed:
            advice += f" {self.skipped} steps were skipped before (--skip_nonfinite_steps)."
        else:
            advice += " --skip_nonfinite_steps=N skips up to N such steps."
        return NonFiniteError(
            error.term, error.step, advice, weights_are_kept=error.weights_are_kept
        )

    def describe(self, step: int) -> str:
        """Return a sentence with the images of a step and the file that its batch is saved in.

        Args:
            step: number of steps that were completed before.
        """
        try:
            batches = self._load_batches(step)
            names = [_text(name) for batch in batches for name in batch.get(Batch.image_id, ())]
            path = self._save(step, batches)
        except Exception as error:  # Whatever the input raises, the step's own error matters more.
            return f" Its batch could not be read again ({type(error).__name__}: {error})."
        shown = ", ".join(names[:MAX_NAMES])
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        images = f" Its images: {shown}{more}." if names else ""
        return f"{images} Its batch is saved as {path}."

    def _save(self, step: int, batches: Sequence[Mapping[str, np.ndarray]]) -> str:
        """Write the arrays of a step as .npz; those of several replicas get its number."""
        arrays = {
            key if len(batches) == 1 else f"{key}.{replica}": value
            for replica, batch in enumerate(batches)
            for key, value in batch.items()
        }
        content = io.BytesIO()
        # Strings as fixed-length bytes: arrays of objects could only be read as pickles.
        plain: dict[str, Any] = {
            key: value.astype(np.bytes_) if value.dtype == object else value
            for key, value in arrays.items()
        }
        np.savez_compressed(content, **plain)
        path = os.path.join(self._model_dir, f"nonfinite_step_{step + 1}{self._worker}.npz")
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content.getvalue())
        return path


class ExplosionWarning:
    """Warning, given once, about a loss that grows without bound and is still finite."""

    def __init__(self) -> None:
        self._lowest = np.inf
        self._is_done = False

    def check(self, step: int, loss: float) -> None:
        """Warn if the mean loss of a logged block is far above every earlier one, or huge.

        Args:
            step: last step of the block.
            loss: its mean total loss.
        """
        limit = min(HUGE_LOSS, GROWTH * max(self._lowest, 1.0))
        if loss > limit and not self._is_done:
            self._is_done = True
            before = (
                f"; the lowest earlier value was {self._lowest:.4g}"
                if self._lowest < np.inf
                else ""
            )
            logging.getLogger(__name__).warning(
                "the mean loss up to step %d is %.4g%s. Training seems to diverge: lower the "
                "learning rate, or set gradient_clipping_by_norm",
                step,
                loss,
                before,
            )
        self._lowest = min(self._lowest, loss)


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
