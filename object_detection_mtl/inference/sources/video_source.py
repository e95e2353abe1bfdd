"""Frames of a video, read with OpenCV (`pip install 'object_detection_mtl[video]'`)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages
from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference.sources.image_source import (
    DecodedImage,
    ImageEntry,
    ReadingOptions,
    file_version,
    make_example,
)
from object_detection_mtl.inference.sources.input_files import InputFile

# Some containers estimate the number of frames. A file that lacks more than 5 % of them, and more
# than one frame, is truncated.
_MIN_FRACTION_OF_FRAMES = 0.95
# FFmpeg detects formats from the content. Playlists, which name other files and servers, are not
# opened, whatever their extension.
_FFMPEG_OPTIONS = (
    "protocol_whitelist;file|format_whitelist;"
    "mov,avi,matroska,webm,mpegts,mpeg,mpegvideo,flv,asf,ogg"
)


class VideoSource:
    """The frames of one video, named <path>:<frame>, from 0.

    Attributes:
        count: Number of frames in the header.
        version: Fingerprint that changes with the file.
    """

    def __init__(self, file: InputFile, options: ReadingOptions) -> None:
        """Open the video to read its header.

        Raises:
            ValueError: OpenCV is not installed.
        """
        self._cv2 = _import_cv2()
        self._file = file
        self._options = options
        capture = self._open()
        # A negative number stands for an unknown one.
        self.count = max(0, int(capture.get(self._cv2.CAP_PROP_FRAME_COUNT)))
        self.version = file_version(file.path, self.count, capture.isOpened())
        capture.release()

    def _open(self) -> Any:
        capture = self._cv2.VideoCapture(str(self._file.path), self._cv2.CAP_FFMPEG)
        orient = self._options.apply_exif_orientation
        capture.set(self._cv2.CAP_PROP_ORIENTATION_AUTO, float(orient))
        return capture

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[ImageEntry | None]:
        """Yield all frames in order, None for those that are done; see `ImageSource`."""
        capture = self._open()
        try:
            if not capture.isOpened():
                with self._file.path.open("rb"):  # Raises the more precise OSError.
                    raise ImageError("not a readable video, or its header is corrupt")
            position = 0
            # Frames depend on the ones before: all are decoded, also those that are done.
            while capture.grab():
                yield None if is_done(position) else self._entry(position, capture.retrieve())
                position += 1
        finally:
            capture.release()
        if not position or position < self.count * _MIN_FRACTION_OF_FRAMES - 1:
            raise ImageError(
                f"ends after {position} of {self.count} frames: the video is truncated or corrupt"
            )

    def _entry(self, position: int, retrieved: tuple[bool, np.ndarray | None]) -> ImageEntry:
        label = f"{self._file.path.as_posix()}:{position}"
        frame = retrieved[1] if retrieved[0] else None
        load = functools.partial(_load_frame, frame, label, self._options)
        return ImageEntry(label, load, f"{position:06d}.jpg")


def _load_frame(frame: np.ndarray | None, label: str, options: ReadingOptions) -> DecodedImage:
    """Convert a frame [H, W, 3] uint8 BGR of OpenCV to an image."""
    if frame is None:
        raise ImageError("the frame cannot be decoded")
    image = np.ascontiguousarray(frame[:, :, ::-1])
    example = None
    if options.with_example:
        encoded = image_files.encode_png(image) if options.with_encoded else None
        example = make_example(image, label, encoded)
    return DecodedImage(image, {"file_name": label}, example)


def _import_cv2() -> Any:
    # FFmpeg's messages of corrupt frames would repeat, less clearly, what is reported here.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG_OPTIONS)
    cv2: Any = optional_packages.import_package(
        "cv2", "video", "videos are read by OpenCV, which cannot be imported"
    )
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
