"""Signals during training: finish the step, save, stop."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(Exception):
    """Raised between two steps after a signal to stop.

    Attributes:
        signal_number: number of the signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class EarlyStopError(Exception):
    """Raised between two steps to end the run early; its text has the reason."""


class GracefulStop:
    """Context that delays a signal until the end of the current step.

    An exception inside a step could leave half an update. A second signal raises KeyboardInterrupt
    at once. Outside the main thread Python delivers no signals, and the context does nothing.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise an error if a signal was received; call this between steps.

        Raises:
            TrainingInterruptedError: a signal was received.
        """
        if self._received is not None:
            raise TrainingInterruptedError(self._received)

    @property
    def is_requested(self) -> bool:
        """Whether this process received a signal."""
        return self._received is not None

    def check_cluster(self, num_requests: int) -> None:
        """Raise an error if any worker of a cluster received a signal.

        All workers stop after the same step, since saving takes all of them.

        Args:
            num_requests: number of replicas whose worker received one, the same in all workers.

        Raises:
            TrainingInterruptedError: there is such a worker.
        """
        if not num_requests:
            return
        if self._received is None:
            print("another worker received a signal to stop: saving a checkpoint", flush=True)
        raise TrainingInterruptedError(self._received or signal.SIGTERM)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._received is not None:
            raise KeyboardInterrupt
        self._received = number
        print(
            f"\n{signal.Signals(number).name}: saving a checkpoint after this step; "
            "send it once more to stop at once without saving",
            file=sys.stderr,
            flush=True,
        )
