"""Callbacks of a training: losses, evaluations, early end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from object_detection_mtl.training.run_options import TrainingResult

_METHODS = ("on_step", "on_evaluation", "on_end")


class TrainingCallback:
    """Base class of callbacks; a subclass overrides the methods that it needs.

    `on_step` and `on_evaluation` end the training by returning True. TensorBoard's events are
    written without a callback, to the subdirectories `train` and `eval` of the training.

    Example:
        Log to a service with W&B's interface, and stop at a loss:

        >>> import object_detection_mtl as odm
        >>> class ServiceLogger(odm.TrainingCallback):
        ...     def __init__(self, service):
        ...         self.service = service
        ...     def on_step(self, step, losses):
        ...         self.service.log(losses, step=step)
        ...     def on_evaluation(self, step, metrics):
        ...         self.service.log(metrics, step=step)
        >>> class StopAtLoss(odm.TrainingCallback):
        ...     def on_step(self, step, losses):
        ...         return losses["Loss/total_loss"] < 0.1
        >>> StopAtLoss().on_step(100, {"Loss/total_loss": 0.05})
        True
    """

    def on_step(self, step: int, losses: Mapping[str, float]) -> bool | None:
        """Observe the losses of the last `log_every_n` steps; True ends the training.

        Args:
            step: number of steps done.
            losses: TensorBoard name, such as "Loss/total_loss" -> mean over these steps; also
                "learning_rate".
        """

    def on_evaluation(self, step: int, metrics: Mapping[str, float]) -> bool | None:
        """Observe the evaluation of a checkpoint; True ends the training.

        Args:
            step: number of steps of the checkpoint.
            metrics: TensorBoard name, such as "PascalBoxes_Precision/mAP@0.5IOU" -> value.
        """

    def on_end(self, result: TrainingResult) -> None:
        """Observe the end of the training, also of one that was interrupted by a signal.

        Args:
            result: steps done, newest checkpoint, last losses.
        """


class CallbackList:
    """The callbacks of a training.

    Args:
        callbacks: objects with some of the methods of `TrainingCallback`.

    Raises:
        ValueError: an object has none of these methods.
    """

    def __init__(self, callbacks: Sequence[Any] = ()) -> None:
        for callback in callbacks:
            if not any(callable(getattr(callback, name, None)) for name in _METHODS):
                raise ValueError(
                    f"callback {callback!r} has none of the methods {', '.join(_METHODS)}; derive "
                    "it from TrainingCallback"
                )
        self._callbacks = tuple(callbacks)

    def on_step(self, step: int, losses: Mapping[str, float]) -> bool:
        """Call `on_step` of all callbacks; return whether one of them ends the training."""
        return self._call("on_step", step, losses)

    def on_evaluation(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Call `on_evaluation` of all callbacks; return whether one of them ends the training."""
        return self._call("on_evaluation", step, metrics)

    def on_end(self, result: TrainingResult) -> None:
        """Call `on_end` of all callbacks."""
        self._call("on_end", result)

    def _call(self, name: str, *values: Any) -> bool:
        answers = [
            method(*values)
            for callback in self._callbacks
            if (method := getattr(callback, name, None)) is not None
        ]
        return any(answer is not None and bool(answer) for answer in answers)
