"""Failures of training: unusable data, non-finite losses, lost workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_search

# Exit code of a worker whose cluster is incomplete; sysexits.h has it for temporary failures.
LOST_WORKER_EXIT_CODE = 75
# TensorFlow's errors after a worker of the cluster ended, restarted or became unreachable.
_CLUSTER_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_MAX_REASON = 200


class TrainingDataError(ValueError):
    """An unusable example: a corrupt record, a class outside the label map."""


class CorruptLimitError(TrainingDataError):
    """Too many corrupt records in a training; every worker stops after the same step."""


class NonFiniteError(ArithmeticError):
    """A loss term or the gradient became NaN or infinite.

    Attributes:
        term: its name in TensorBoard.
        step: number of steps that were completed before.
        weights_are_kept: whether the weights are those of before the step.
    """

    def __init__(
        self, term: str, step: int, advice: str = "", *, weights_are_kept: bool = False
    ) -> None:
        """Compose the message.

        Args:
            term: its name in TensorBoard.
            step: number of steps that were completed before.
            advice: further sentences, which begin with a space.
            weights_are_kept: whether the weights are those of before the step.
        """
        super().__init__(
            f"{term} became NaN or infinite in training step {step + 1}. Usual causes: the "
            "learning rate is too high, gradient_clipping_by_norm is not set, boxes without area, "
            f"weights of another model.{advice}"
        )
        self.term = term
        self.step = step
        self.weights_are_kept = weights_are_kept


class WorkerLostError(RuntimeError):
    """Another worker of the cluster ended, restarted or cannot be reached."""


class DataServiceLostError(WorkerLostError):
    """The dispatcher of a tf.data service does not answer any more."""


def is_from_data(error: tf.errors.OpError) -> bool:
    """Return whether reading the batch failed, so that nothing of the step was computed."""
    return "IteratorGetNext" in error.message


@contextlib.contextmanager
def lost_worker_explained(model_dir: str, *, is_cluster: bool) -> Iterator[None]:
    """Turn errors of a cluster's communication into a `WorkerLostError`.

    Args:
        model_dir: directory of the run; its newest checkpoint is named.
        is_cluster: whether the run has several workers; otherwise errors are not changed.

    Raises:
        WorkerLostError: another worker is lost.
    """
    try:
        yield
    except _CLUSTER_ERRORS as error:
        if not is_cluster:
            raise
        lines = error.message.splitlines() or [type(error).__name__]
        raise WorkerLostError(
            "another worker of the cluster ended, restarted or cannot be reached "
            f"({lines[0][:_MAX_REASON]}). {_newest_in(model_dir)}. Start the same command on every "
            "worker again"
        ) from error


def _newest_in(model_dir: str) -> str:
    with contextlib.suppress(OSError, ValueError, tf.errors.OpError):
        newest = checkpoint_search.find_newest(model_dir)
        if newest is not None:
            return f"The newest checkpoint is {newest.prefix}, where training continues"
    return f"{model_dir} has no checkpoint yet, training begins again"
