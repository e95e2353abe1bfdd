"""Working ahead of a consumer, in threads, in order and within bounds."""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()


def in_threads(
    items: Iterator[Item], work: Callable[[Item], Result], num_threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Every item and what `work` makes of it, in the items' order.

    One thread asks for the items and `num_threads` do the work. At most `num_threads` + 1 items are
    asked for ahead of the consumer, whatever it waits for. Errors of either arrive at their place.
    """
    advancing = ThreadPoolExecutor(max_workers=1)
    working = ThreadPoolExecutor(max_workers=num_threads)

    def advance() -> tuple[Item, Future[Result]] | None:
        item = next(items, _END)
        return None if item is _END else (item, working.submit(work, item))  # type: ignore

    try:
        ahead = collections.deque(advancing.submit(advance) for _ in range(num_threads + 1))
        while (following := ahead.popleft().result()) is not None:
            item, future = following
            result = future.result()
            ahead.append(advancing.submit(advance))
            yield item, result
    finally:
        advancing.shutdown(cancel_futures=True)
        working.shutdown(cancel_futures=True)
