"""Prefetching of images in threads; batches of images of one size."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import tensorflow as tf

from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.export.runtimes.runtime_models import ModelCallError
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.predictor import (
    PreparedImage,
    StagedPredictor,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Ticket = TypeVar("Ticket")

# Images that may wait, in batches: enough for six sizes to fill their batches in parallel.
WAITING_BATCHES = 8
# Memory of waiting images: seven images of 12 million pixels.
_MAX_WAITING_BYTES = 2**28
_END = object()
# Errors of a model about an image.
_REJECTIONS = (tf.errors.InvalidArgumentError, ModelCallError)


def map_in_threads(
    items: Iterator[Item], work: Callable[[Item], Result], num_threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield every item with the result of `work`, in the order of the items.

    At most `num_threads` + 1 items are requested ahead of the consumer. An error of the iterator or
    of `work` is raised at its position.

    Args:
        items: Requested by one thread.
        work: Called in `num_threads` threads.
        num_threads: Number of threads.
    """
    requesting = ThreadPoolExecutor(max_workers=1)
    working = ThreadPoolExecutor(max_workers=num_threads)

    def advance() -> tuple[Item, Future[Result]] | None:
        item = next(items, _END)
        return None if item is _END else (item, working.submit(work, item))  # type: ignore

    try:
        ahead = collections.deque(requesting.submit(advance) for _ in range(num_threads + 1))
        while (following := ahead.popleft().result()) is not None:
            item, future = following
            result = future.result()
            ahead.append(requesting.submit(advance))
            yield item, result
    finally:
        requesting.shutdown(cancel_futures=True)
        working.shutdown(cancel_futures=True)


@dataclass
class _WaitingImage(Generic[Ticket]):
    ticket: Ticket
    prepared: PreparedImage | Exception
    num_bytes: int
    detections: ImageDetections | Exception | None = None
    call: Future[None] | None = None  # that detects on it in a thread

    @property
    def is_finished(self) -> bool:
        return self.detections is not None or (self.call is not None and self.call.done())


class _ModelCalls:
    """Calls of a predictor: in this thread, or in as many threads as it has streams."""

    def __init__(self, predictor: StagedPredictor) -> None:
        self._predictor = predictor
        self._number = predictor.num_streams
        self._threads = ThreadPoolExecutor(self._number) if self._number > 1 else None
        self._calls: collections.deque[Future[None]] = collections.deque()

    def start(self, members: Sequence[_WaitingImage]) -> None:
        """Detect on a batch, or begin to; waits while all streams are busy and one call waits."""
        if self._threads is None:
            self._detect(members)
            return
        if len(self._calls) > self._number:
            self._calls.popleft().result()
        call = self._threads.submit(self._detect, members)
        self._calls.append(call)
        for member in members:
            member.call = call

    def close(self) -> None:
        """End the threads after their present calls."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _detect(self, members: Sequence[_WaitingImage]) -> None:
        found = _detect_batch(self._predictor, members)
        for member, detections in zip(members, found, strict=True):
            member.detections = detections


def detect_in_batches(
    predictor: StagedPredictor,
    images: Iterator[tuple[Ticket, PreparedImage | Exception, int]],
    batch_size: int,
    max_bytes: int = _MAX_WAITING_BYTES,
) -> Iterator[tuple[Ticket, ImageDetections | Exception]]:
    """Yield the detections of each image of a stream, in the order of the stream.

    Images wait until a batch of their group is full. Waiting images are bounded in number and in
    bytes: at the bound, the group of the oldest image is detected on in a smaller batch. Several
    streams of a predictor detect on several batches at the same time.

    Args:
        predictor: Predictor of the prepared images.
        images: For each image a ticket that is returned with its detections, the prepared image or
            the error of reading it, and its size in bytes.
        batch_size: Maximum number of images in a batch.
        max_bytes: Maximum bytes of waiting images.
    """
    queue: collections.deque[_WaitingImage] = collections.deque()
    groups: dict[Hashable, list[_WaitingImage]] = collections.defaultdict(list)
    waiting_bytes = 0
    with contextlib.closing(_ModelCalls(predictor)) as calls:
        for ticket, prepared, num_bytes in images:
            queue.append(_WaitingImage(ticket, prepared, num_bytes))
            waiting_bytes += num_bytes
            if isinstance(prepared, Exception):
                queue[-1].detections = prepared
            else:
                groups[prepared.group].append(queue[-1])
                if len(groups[prepared.group]) == batch_size:
                    calls.start(groups.pop(prepared.group))
            while queue and (
                queue[0].is_finished
                or len(queue) > WAITING_BATCHES * batch_size
                or waiting_bytes > max_bytes
            ):
                if queue[0].detections is None and queue[0].call is None:
                    calls.start(groups.pop(queue[0].prepared.group))  # type: ignore[union-attr]
                waiting_bytes -= queue[0].num_bytes
                yield _finished(queue.popleft())
        for group in list(groups):
            calls.start(groups.pop(group))
        while queue:
            yield _finished(queue.popleft())


def _finished(waiting: _WaitingImage[Ticket]) -> tuple[Ticket, ImageDetections | Exception]:
    if waiting.call is not None:
        waiting.call.result()  # An error of the model is raised here.
    assert waiting.detections is not None
    return waiting.ticket, waiting.detections


def _detect_batch(
    predictor: StagedPredictor, members: Sequence[_WaitingImage]
) -> list[ImageDetections | Exception]:
    """Detect on a batch; if it fails, on each of its images alone."""
    try:
        return [*predictor.detect([member.prepared.value for member in members])]  # type: ignore
    except (MemoryError, tf.errors.ResourceExhaustedError, *_REJECTIONS) as error:
        if len(members) > 1:
            return [result for member in members for result in _detect_batch(predictor, [member])]
        return [ImageError(_failure_reason(error))]


def _failure_reason(error: Exception) -> str:
    if isinstance(error, tf.errors.InvalidArgumentError):
        return f"the model rejects it: {error.message.splitlines()[0]}"
    if isinstance(error, ModelCallError):
        return f"the model rejects it: {error}"
    return "not enough memory to detect on it"
