"""The frames of a video, by OpenCV: `pip install 'object_detection_mtl[video]'`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages
from object_detection_mtl.inference.sources import examples, input_files
from object_detection_mtl.inference.sources.examples import Content
from object_detection_mtl.inference.sources.image_source import Entry, Reading, version_of
from object_detection_mtl.inference.sources.input_files import PictureError, PictureFile

# Some containers estimate the number of their frames; a file with fewer than this part of them, and
# not just by one, was cut short.
_LEAST_PART_OF_FRAMES = 0.95


class VideoSource:
    """One video; its pictures are called <path>:<frame>, from 0.

    Attributes: see `sources.Source`.
    """

    def __init__(self, file: PictureFile, reading: Reading) -> None:
        """Raises:
        ValueError: OpenCV is not installed.
        """
        self._cv2 = _import_cv2()
        self._file = file
        self._reading = reading
        capture = self._open()
        # Some containers do not know it, and give a negative number.
        self.count = max(0, int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)))
        self.version = version_of(file.path, self.count, capture.isOpened())
        capture.release()

    def _open(self) -> Any:
        capture = self._cv2.VideoCapture(str(self._file.path), self._cv2.CAP_FFMPEG)
        turn = self._reading.apply_exif_orientation
        capture.set(self._cv2.CAP_PROP_ORIENTATION_AUTO, float(turn))
        return capture

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[Entry | None]:
        capture = self._open()
        try:
            if not capture.isOpened():
                with self._file.path.open("rb"):  # or an error that says more
                    raise PictureError("not a video that can be read, or its header is damaged")
            place = 0
            # Frames depend on the ones before, so that all are decoded, wanted or not.
            while capture.grab():
                yield None if is_done(place) else self._entry(place, capture.retrieve())
                place += 1
        finally:
            capture.release()
        if not place or place < self.count * _LEAST_PART_OF_FRAMES - 1:
            raise PictureError(
                f"ends after {place} of {self.count} frames: it is damaged or cut short"
            )

    def _entry(self, place: int, retrieved: tuple[bool, np.ndarray | None]) -> Entry:
        label = f"{self._file.path.as_posix()}:{place}"
        frame = retrieved[1] if retrieved[0] else None
        load = functools.partial(_load, frame, label, self._reading)
        return Entry(label, load, f"{place:06d}.jpg")


def _load(frame: np.ndarray | None, label: str, reading: Reading) -> Content:
    """`frame`: [H, W, 3] uint8, blue first, as OpenCV has it."""
    if frame is None:
        raise PictureError("the frame cannot be decoded")
    picture = np.ascontiguousarray(frame[:, :, ::-1])
    example = None
    if reading.with_example:
        encoded = input_files.to_png(picture) if reading.with_encoded else None
        example = examples.of_picture(picture, label, encoded)
    return Content(picture, {"file_name": label}, example)


def _import_cv2() -> Any:
    # What FFmpeg says of damaged places is noise beside the line that names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2: Any = optional_packages.import_package(
        "cv2", "video", "videos are read by OpenCV, which cannot be imported"
    )
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
