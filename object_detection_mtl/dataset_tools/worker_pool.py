"""A function over many items, in several processes, with the results in the items' order."""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 8  # items of one message between processes
_CHUNKS_IN_FLIGHT = 4  # for each process; more would only fill memory
_WORTH_A_PROCESS = 4.0  # seconds: about as long as a process takes to start, with TensorFlow


def choose_number(requested: int, seconds: float) -> int:
    """The number of processes: what was asked for, or (0) what pays off on this machine.

    Args:
      requested: the flag's value.
      seconds: a guess of how long one process would take.

    Raises:
      ValueError: a negative number.
    """
    if requested < 0:
        raise ValueError(f"--num_workers is {requested}, expected 0 (automatic) or more")
    if requested:
        return requested
    return max(1, min(len(os.sched_getaffinity(0)), int(seconds / _WORTH_A_PROCESS)))


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    num_processes: int,
    initializer: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:
    """Yields function(item) for every item; `initializer` is called first in every new process.

    Function, items and results travel between processes, so the function has to be one of a module
    (or a functools.partial of one). Processes are started afresh ("spawn"): TensorFlow's threads do
    not survive a fork. At most a few dozen results wait at any time.
    Closing the generator stops the processes.

    Raises:
      OSError: a process died, most likely because the machine ran out of memory.
    """
    if num_processes < 2:
        yield from map(function, items)
        return
    executor = futures.ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=initializer
    )
    others = set(multiprocessing.active_children())
    waiting: collections.deque[futures.Future] = collections.deque()
    try:
        for chunk in _chunks(items):
            if len(waiting) >= num_processes * _CHUNKS_IN_FLIGHT:
                yield from waiting.popleft().result()
            with _interrupts_held_back():
                waiting.append(executor.submit(_map_chunk, function, chunk))
        while waiting:
            yield from waiting.popleft().result()
    except futures.BrokenExecutor as error:
        raise OSError(
            "a worker process died. If nothing above says why, the machine perhaps ran out of "
            "memory: use fewer of them (--num_workers=1). A script of your own has to call this "
            'below `if __name__ == "__main__":`'
        ) from error
    except BaseException:
        # Nobody waits for the results any more, least of all who pressed Ctrl-C.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk


def _map_chunk(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those started here never hear it.

    A new process inherits which signals are held back. It is this one that stops the others, and
    their tracebacks would hide what it says.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
