"""Stream of all images of a detection run, numbered from 1."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference.sources.image_source import (
    DecodedImage,
    ImageEntry,
    ImageFileSource,
    ImageSource,
    ReadingOptions,
)
from object_detection_mtl.inference.sources.input_files import FileKind, InputFile
from object_detection_mtl.inference.sources.record_source import RecordSource
from object_detection_mtl.inference.sources.video_source import VideoSource


@dataclass(frozen=True)
class NumberedImage:
    """An image of the input.

    Attributes:
        number: Number in the whole input, from 1.
        entry: The image.
        file_number: Index of its file, from 0.
    """

    number: int
    entry: ImageEntry
    file_number: int

    def with_content(self, content: DecodedImage | None) -> ReadImage:
        """Return the image with what was decoded, or with None if that failed."""
        entry = self.entry
        return ReadImage(self.number, entry.label, self.file_number, entry.drawing_name, content)


@dataclass(frozen=True)
class ReadImage:
    """A `NumberedImage` after reading.

    Attributes:
        number: Number in the whole input, from 1.
        label: Name of the image in messages.
        file_number: Index of its file, from 0.
        drawing_name: See `ImageEntry`.
        content: The decoded image; None if it is unreadable.
    """

    number: int
    label: str
    file_number: int
    drawing_name: str
    content: DecodedImage | None


@dataclass(frozen=True)
class SourceFailure:
    """An input file that could not be read to its end.

    Attributes:
        label: Name of the file in messages.
        reason: The error's message.
    """

    label: str
    reason: str


def open_sources(files: Iterable[InputFile], options: ReadingOptions) -> list[ImageSource]:
    """Return the sources of files.

    Raises:
        ValueError: There is a video and OpenCV is not installed.
    """
    return [_open_source(file, options) for file in files]


def _open_source(file: InputFile, options: ReadingOptions) -> ImageSource:
    if file.kind == FileKind.RECORD:
        return RecordSource(file, options)
    if file.kind == FileKind.VIDEO:
        return VideoSource(file, options)
    return ImageFileSource(file, options)


def stream_images(
    sources: Sequence[ImageSource], labels: Sequence[str], is_done: Callable[[int], bool]
) -> Iterator[NumberedImage | SourceFailure]:
    """Yield the images of all sources that are not done, and the sources that fail.

    Args:
        sources: Sources in the order of the input.
        labels: Name of each source in messages.
        is_done: Return whether the image of a number is done.
    """
    before = 0
    for file_number, (source, label) in enumerate(zip(sources, labels, strict=True)):
        position = -1
        try:
            entries = source.entries(functools.partial(_is_position_done, is_done, before))
            for position, entry in enumerate(entries):
                if entry is not None:
                    yield NumberedImage(before + position + 1, entry, file_number)
        except (ImageError, OSError, tf.errors.OpError) as error:
            yield SourceFailure(label, str(error))
        before += position + 1


def count_images(source: ImageSource) -> int:
    """Return the number of readable images, counted by reading the whole source."""
    number = 0
    with contextlib.suppress(ImageError, OSError, tf.errors.OpError):
        for _ in source.entries(lambda position: True):
            number += 1
    return number


def readable_images(files: Iterable[InputFile]) -> Iterator[np.ndarray]:
    """Yield the readable images [H, W, 3] uint8 of some files.

    Raises:
        ValueError: No image is readable.
    """
    files, is_readable = list(files), False
    labels = [str(file.path) for file in files]
    sources = open_sources(files, ReadingOptions())
    with image_files.ignore_size_warnings():
        for item in stream_images(sources, labels, lambda number: False):
            if isinstance(item, NumberedImage):
                with contextlib.suppress(ImageError, OSError):
                    pixels = item.entry.load().pixels
                    is_readable = True
                    yield pixels
    if not is_readable:
        raise ValueError(
            "engine 'auto' needs one readable image to compare the engines; none of the input is "
            "readable. Name the engine or give other images"
        )


def _is_position_done(is_done: Callable[[int], bool], before: int, position: int) -> bool:
    return is_done(before + position + 1)
