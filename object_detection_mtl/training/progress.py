"""Progress of a training run: step, loss, images per second, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

# Without a terminal, a line at least this often besides one per logged block.
SECONDS_BETWEEN_LINES = 30.0
# A training that waits longer for its input is told so.
_NOTED_INPUT_WAIT = 0.1


class TrainingProgress:
    """Progress bar on a terminal, progress lines elsewhere (a log file, a notebook)."""

    def __init__(
        self,
        num_steps: int | None,
        batch_size: int,
        start_step: int = 0,
        *,
        note: Callable[[], str] = str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            num_steps: the run's last step; None if it has none.
            batch_size: images of a step, over all replicas.
            start_step: steps done by an earlier run.
            note: returns an additional text for a line, or "".
            stream: output; by default standard output.
            clock: seconds.
        """
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._other_note = note
        self._input_wait = 0.0
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        # The first step compiles; rates are measured from its end.
        self._rate_step: int | None = None
        self._rate_time = 0.0
        self._paused = 0.0
        self._line_step = start_step
        self._line_time = self._started = clock()
        self._bar: tqdm | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=num_steps,
                initial=start_step,
                unit="step",
                file=self._stream,
                dynamic_ncols=True,
                mininterval=0.5,
            )

    def step_done(self, step: int, loss: Callable[[], float]) -> None:
        """Show a finished step; call this after every step.

        Args:
            step: steps done so far.
            loss: reads the loss of the step; called only when something is shown, because reading
                waits for the device.
        """
        now = self._clock()
        if self._rate_step is None:
            self._rate_step, self._rate_time = step, now
            self._write(f"first step done after {now - self._started:.1f} s (it builds the graph)")
        if self._bar is not None:
            if self._bar.update(step - self._bar.n):
                note = self._note()
                self._bar.set_postfix_str(
                    f"loss {loss():.4f}, {self.images_per_second(step):.1f} images/s"
                    + (f", {note}" if note else ""),
                    refresh=False,
                )
        elif now - self._line_time >= SECONDS_BETWEEN_LINES:
            self._line(step, loss())

    def block_done(self, step: int, loss: float, input_wait: float = 0.0) -> None:
        """Show a logged block.

        Args:
            step: steps done so far.
            loss: mean loss of the block.
            input_wait: fraction of the block's time in which its steps waited for their batch.
        """
        self._input_wait = input_wait
        if self._bar is None and step != self._line_step:
            self._line(step, loss)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave an evaluation out of the throughput, but not out of the time left."""
        start = self._clock()
        try:
            yield
        finally:
            if self._rate_step is not None:
                self._paused += self._clock() - start

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def images_per_second(self, step: int) -> float:
        """Return the throughput since the end of the first step; 0 while it is unknown."""
        seconds = self._clock() - self._rate_time - self._paused
        if self._rate_step is None or step <= self._rate_step or seconds <= 0:
            return 0.0
        return (step - self._rate_step) * self._batch_size / seconds

    def _note(self) -> str:
        waits = ""
        if self._input_wait > _NOTED_INPUT_WAIT:
            waits = f"waits for input {self._input_wait:.0%} of the time"
        return "; ".join(filter(None, (waits, self._other_note())))

    def _line(self, step: int, loss: float) -> None:
        last = self._num_steps
        text = f"step {step}{'' if last is None else f'/{last}'}  loss {loss:.4f}"
        rate = self.images_per_second(step)
        if rate > 0:
            text += f"  {rate:.1f} images/s"
            if last is not None and self._rate_step is not None:
                seconds = self._clock() - self._rate_time
                left = (last - step) * seconds / (step - self._rate_step)
                text += f"  {_duration(left)} left"
        note = self._note()
        self._write(f"{text}  {note}" if note else text)
        self._line_step, self._line_time = step, self._clock()

    def _write(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    """Format seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
