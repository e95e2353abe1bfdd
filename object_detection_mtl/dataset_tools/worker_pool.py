"""Ordered map of a function over many items in several processes.

Joblib's generator of ordered results does not replace it: it computes results ahead of a slow
consumer without a limit, so memory is not bounded.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNK = 8  # items of one message between processes
_CHUNKS_IN_FLIGHT = 4  # of each process; bounds the results that wait in memory
_SECONDS_PER_PROCESS = 4.0  # about the time in which a process with TensorFlow starts


def choose_number(requested: int, seconds: float) -> int:
    """Return the number of worker processes.

    Args:
        requested: value of --num_workers; 0 means automatic.
        seconds: estimated time that one process would take.

    Returns:
        `requested`, or for 0 as many processes as are worth their start, at most one for each CPU
        core.

    Raises:
        ValueError: `requested` is negative.
    """
    if requested < 0:
        raise ValueError(f"--num_workers is {requested}, expected 0 (automatic) or more")
    if requested:
        return requested
    return max(1, min(len(os.sched_getaffinity(0)), int(seconds / _SECONDS_PER_PROCESS)))


def map_in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    num_processes: int,
    initializer: Callable[[], None] | None = None,
) -> Generator[Result, None, None]:
    """Yield function(item) for every item, in the order of the items.

    Processes are started with "spawn", because TensorFlow's threads do not survive a fork. At most
    a few dozen results wait for the consumer. Closing the generator stops the processes.

    Args:
        function: the function to apply. Function, items and results are sent between processes, so
            it must be a function of a module, or a functools.partial of one.
        items: the items.
        num_processes: number of processes; with 1 everything is computed in this process.
        initializer: called first in every new process.

    Yields:
        The results.

    Raises:
        OSError: a process died, most likely because the machine ran out of memory.
    """
    if num_processes < 2:
        yield from map(function, items)
        return
    executor = futures.ProcessPoolExecutor(
        num_processes,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(initializer,),
    )
    others = set(multiprocessing.active_children())
    waiting: collections.deque[futures.Future] = collections.deque()
    try:
        for chunk in _chunks(items):
            if len(waiting) >= num_processes * _CHUNKS_IN_FLIGHT:
                yield from waiting.popleft().result()
            with _interrupts_blocked():
                waiting.append(executor.submit(_map_chunk, function, chunk))
        while waiting:
            yield from waiting.popleft().result()
    except futures.BrokenExecutor as error:
        raise OSError(
            "a worker process died. If no message above has the reason, the machine may have run "
            "out of memory: use fewer processes (--num_workers=1). Your own script must call this "
            'below `if __name__ == "__main__":`'
        ) from error
    except BaseException:
        # After an error, Ctrl-C or close() the remaining results are not needed.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker(initializer: Callable[[], None] | None) -> None:
    """Make a new process end with its parent, which may be killed, and initialize it."""
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer()


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk


def _map_chunk(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in the processes that are started here.

    A terminal sends Ctrl-C to every process. A new process inherits the blocked signals of this
    one, which stops the others itself; their tracebacks would hide its message.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
