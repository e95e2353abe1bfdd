"""Evaluation of checkpoints during training."""

from __future__ import annotations

from object_detection_mtl.evaluation.checkpoint_evaluation import CheckpointEvaluation
from object_detection_mtl.training.best_checkpoint import BestCheckpoint, PeriodicEvaluation
from object_detection_mtl.training.interruption import EarlyStopError
from object_detection_mtl.training.training_callbacks import CallbackList


class PeriodicEvaluator:
    """Evaluator of the checkpoints of a run, while it trains.

    Args:
        options: when to evaluate, and when the run ends.
        evaluation: evaluates a checkpoint.
        best: keeps the best checkpoint.
        observers: callbacks of the training.
    """

    def __init__(
        self,
        options: PeriodicEvaluation,
        evaluation: CheckpointEvaluation,
        best: BestCheckpoint,
        observers: CallbackList,
    ) -> None:
        self._options = options
        self._evaluation = evaluation
        self._best = best
        self._observers = observers
        self._last_step: int | None = None

    def on_checkpoint(self, step: int, prefix: str) -> bool:
        """Evaluate a checkpoint if it is due; return whether the run no longer improves.

        Raises:
            EarlyStopError: a callback ends the run.
        """
        if step % self._options.every_n:
            return False
        if self._evaluate(step, prefix):
            raise EarlyStopError("a callback ended the training")
        return self._best.is_exhausted

    def on_end(self, step: int, prefix: str) -> None:
        """Evaluate the last checkpoint, if requested and not done yet."""
        if self._options.at_end and step != self._last_step:
            self._evaluate(step, prefix)

    def _evaluate(self, step: int, prefix: str) -> bool:
        _, metrics = self._evaluation.evaluate(prefix)
        self._last_step = step
        self._best.consider(prefix, step, metrics)
        return self._observers.on_evaluation(step, metrics)
