"""Images of the calibration of an int8 export, read as for detection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference.sources import image_stream, input_files
from object_detection_mtl.inference.sources.image_source import ReadingOptions
from object_detection_mtl.inference.sources.image_stream import SourceFailure
from object_detection_mtl.inference.sources.input_files import InputFile


def find_calibration_files(paths: Sequence[str | os.PathLike[str]]) -> list[InputFile]:
    """Return the files of a calibration: records, images, and directories with subdirectories.

    Raises:
        FileNotFoundError: A file or directory does not exist, or a directory has no image.
    """
    try:
        return input_files.find_input_files([os.fspath(path) for path in paths], recursive=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"calibration: {error}") from error


class CalibrationImages:
    """At most `max_images` images of some files, evenly spread; can be iterated over repeatedly.

    Each image is [height, width, 3] uint8. Image files are rotated by their EXIF orientation, as
    `detect_objects` does; unreadable images are skipped with a warning.
    """

    def __init__(self, files: Sequence[InputFile], max_images: int) -> None:
        self._files = list(files)
        self._max_images = max_images
        self._warned: set[str] = set()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the images in the order of the files."""
        sources = image_stream.open_sources(self._files, ReadingOptions())
        labels = [str(file.path) for file in self._files]
        wanted = spread_numbers(sum(source.count for source in sources), self._max_images)
        with image_files.ignore_size_warnings():
            for item in image_stream.stream_images(sources, labels, lambda n: n not in wanted):
                if isinstance(item, SourceFailure):
                    self._warn(item.label, item.reason)
                    continue
                try:
                    yield item.entry.load().pixels
                except (ImageError, OSError) as error:
                    self._warn(item.entry.label, str(error))

    def _warn(self, label: str, reason: str) -> None:
        if label not in self._warned:
            self._warned.add(label)
            logging.warning("calibration: %s: skipped, %s", label, reason)


def spread_numbers(total: int, maximum: int) -> set[int]:
    """Return at most `maximum` of the numbers 1 to `total`, evenly spread."""
    return {1 + int(k) for k in np.linspace(0, total - 1, min(maximum, total))}
