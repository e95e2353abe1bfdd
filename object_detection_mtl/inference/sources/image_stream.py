"""What a run looks at: the pictures of files, records and videos, one after the other.

Pictures are numbered through, from 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.inference.sources.examples import Content
from object_detection_mtl.inference.sources.image_source import Entry, Reading, Source
from object_detection_mtl.inference.sources.input_files import Kind, PictureError, PictureFile
from object_detection_mtl.inference.sources.picture_source import PictureSource
from object_detection_mtl.inference.sources.record_source import RecordSource
from object_detection_mtl.inference.sources.video_source import VideoSource


@dataclass(frozen=True)
class Numbered:
    """An entry of a file, and its number in the whole input."""

    number: int
    entry: Entry
    file_number: int


@dataclass(frozen=True)
class Read:
    """What was read of a `Numbered`, without what it was read from.

    Attributes:
        content: None where it could not be.
    """

    number: int
    label: str
    file_number: int
    place: str
    content: Content | None


@dataclass(frozen=True)
class Trouble:
    """A file of the input that could not be read up to its end."""

    label: str
    reason: str


def open_all(files: Iterable[PictureFile], reading: Reading) -> list[Source]:
    """The sources of files.

    Raises:
        ValueError: there is a video, and nothing that reads it is installed.
    """
    return [_open(file, reading) for file in files]


def _open(file: PictureFile, reading: Reading) -> Source:
    if file.kind == Kind.RECORD:
        return RecordSource(file, reading)
    if file.kind == Kind.VIDEO:
        return VideoSource(file, reading)
    return PictureSource(file, reading)


def stream(
    sources: Sequence[Source], labels: Sequence[str], is_done: Callable[[int], bool]
) -> Iterator[Numbered | Trouble]:
    """The entries of all sources that are not done, by their numbers, and what cannot be read.

    Args:
        labels: what messages call each source.
        is_done: tells it of a number.
    """
    before = 0
    for file_number, (source, label) in enumerate(zip(sources, labels, strict=True)):
        place = -1
        try:
            entries = source.entries(functools.partial(_is_place_done, is_done, before))
            for place, entry in enumerate(entries):
                if entry is not None:
                    yield Numbered(before + place + 1, entry, file_number)
        except (PictureError, OSError, tf.errors.OpError) as error:
            yield Trouble(label, str(error))
        before += place + 1


def count(source: Source) -> int:
    """The pictures of a source, counted by going through them; those before a damaged place."""
    number = 0
    try:
        for _ in source.entries(lambda place: True):
            number += 1
    except (PictureError, OSError, tf.errors.OpError):
        pass
    return number


def read(numbered: Numbered, content: Content | None) -> Read:
    """`numbered`, of which `content` was read."""
    entry = numbered.entry
    return Read(numbered.number, entry.label, numbered.file_number, entry.place, content)


def _is_place_done(is_done: Callable[[int], bool], before: int, place: int) -> bool:
    return is_done(before + place + 1)
