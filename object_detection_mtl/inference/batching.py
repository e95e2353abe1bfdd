"""Batches of equally large pictures out of a stream of pictures of any size.

Results come in the order of the stream. What waits for others of its size, or for its turn, is
bounded in number and in bytes: where that is reached, the group of the oldest is detected on as it
is. So a picture of a rare size costs a smaller batch, and never an unlimited buffer.
"""

from __future__ import annotations

import collections
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import tensorflow as tf

from object_detection_mtl.inference.sources.input_files import PictureError
from object_detection_mtl.inference.stages import Found, Prepared, StagedPredictor

Ticket = TypeVar("Ticket")

# Of a batch's size, pictures that may wait: half a dozen sizes fill their batches side by side.
WAITING_BATCHES = 8
# What waiting pictures may hold: seven photographs of 12 million pixels.
_WAITING_BYTES = 2**28


@dataclass
class _Waiting(Generic[Ticket]):
    ticket: Ticket
    prepared: Prepared | Exception
    num_bytes: int
    found: Found | Exception | None = None


def detect(
    predictor: StagedPredictor,
    pictures: Iterator[tuple[Ticket, Prepared | Exception, int]],
    batch_size: int,
    max_bytes: int = _WAITING_BYTES,
) -> Iterator[tuple[Ticket, Found | Exception]]:
    """What is found on each picture of a stream.

    Args:
        predictor: for the prepared pictures of one group.
        pictures: of each a ticket that is given back, the prepared picture or why there is none,
            and how many bytes it holds.
        batch_size: at most so many pictures at once.
        max_bytes: that waiting pictures hold.
    """
    queue: collections.deque[_Waiting] = collections.deque()
    groups: dict[Hashable, list[_Waiting]] = collections.defaultdict(list)
    held = 0

    def run(group: Hashable) -> None:
        members = groups.pop(group)
        for member, found in zip(members, _detect(predictor, members), strict=True):
            member.found = found

    for ticket, prepared, num_bytes in pictures:
        queue.append(_Waiting(ticket, prepared, num_bytes))
        held += num_bytes
        if isinstance(prepared, Exception):
            queue[-1].found = prepared
        else:
            groups[prepared.group].append(queue[-1])
            if len(groups[prepared.group]) == batch_size:
                run(prepared.group)
        while queue and (
            queue[0].found is not None
            or len(queue) > WAITING_BATCHES * batch_size
            or held > max_bytes
        ):
            if queue[0].found is None:
                run(queue[0].prepared.group)  # type: ignore[union-attr]
            held -= queue[0].num_bytes
            yield _finished(queue.popleft())
    for group in list(groups):
        run(group)
    while queue:
        yield _finished(queue.popleft())


def _finished(waiting: _Waiting[Ticket]) -> tuple[Ticket, Found | Exception]:
    assert waiting.found is not None
    return waiting.ticket, waiting.found


def _detect(predictor: StagedPredictor, members: Sequence[_Waiting]) -> list[Found | Exception]:
    """Tries the pictures of a batch one by one where all together are too much or refused."""
    try:
        return [*predictor.detect([member.prepared.value for member in members])]  # type: ignore
    except (MemoryError, tf.errors.ResourceExhaustedError, tf.errors.InvalidArgumentError) as error:
        if len(members) > 1:
            return [found for member in members for found in _detect(predictor, [member])]
        return [PictureError(_why_not(error))]


def _why_not(error: Exception) -> str:
    if isinstance(error, tf.errors.InvalidArgumentError):
        return f"the model refuses it: {error.message.splitlines()[0]}"
    return "there is not enough memory to detect on it"
