"""Image sources: the images of one input file.

Shape letters: H W an image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import image_files
from object_detection_mtl.fields import TfExample
from object_detection_mtl.inference.sources.input_files import InputFile


@dataclass(frozen=True)
class ReadingOptions:
    """How images are read.

    Attributes:
        apply_exif_orientation: See `image_files.decode_image`; videos are rotated likewise. The
            images of records never are: their boxes refer to the image as it is stored.
        with_example: Make `DecodedImage.example`.
        with_encoded: Keep the encoded image in the example.
    """

    apply_exif_orientation: bool = True
    with_example: bool = False
    with_encoded: bool = True


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: [H, W, 3] uint8.
        description: Entry of images.json besides number and size; `file_name` at least.
        example: Example that detections are added to, if `ReadingOptions.with_example`.
    """

    pixels: np.ndarray
    description: Mapping[str, Any]
    example: tf.train.Example | None = None


@dataclass(frozen=True)
class ImageEntry:
    """One image of the input, not decoded yet.

    Attributes:
        label: Name of the image in messages.
        load: Read and decode the image, in any thread or process. Raises ImageError or OSError.
        drawing_name: File name of the drawing in the directory of its source; empty if the source
            has one image.
    """

    label: str
    load: Callable[[], DecodedImage]
    drawing_name: str = ""


class ImageSource(Protocol):
    """The images of one file.

    Attributes:
        count: Number of images; of a video, the number in its header.
        version: Fingerprint that changes with the file.
    """

    @property
    def count(self) -> int:
        """Return the number of images."""
        ...

    @property
    def version(self) -> str:
        """Return the fingerprint of the file."""
        ...

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[ImageEntry | None]:
        """Yield all images in order, None for those whose position (from 0) is done.

        Raises:
            ImageError: The file is truncated or corrupt.
            OSError: The file cannot be read.
        """
        ...


@dataclass(frozen=True)
class ImageFileSource:
    """The one image of an image file; see `ImageSource`."""

    file: InputFile
    options: ReadingOptions
    count: int = 1

    @property
    def version(self) -> str:
        """Return the path."""
        return str(self.file.path)

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[ImageEntry | None]:
        """Yield the image, or None if it is done."""
        load = functools.partial(_load_image_file, self.file.path, self.options)
        yield None if is_done(0) else ImageEntry(str(self.file.path), load)


def file_version(path: Path, *more: object) -> str:
    """Return the fingerprint of a multi-image file: path, size, modification time and `more`."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} {error.strerror}"
    return " ".join(map(str, (path, status.st_size, status.st_mtime_ns, *more)))


def make_example(image: np.ndarray, name: str, encoded: bytes | None) -> tf.train.Example:
    """Return the example of an image [H, W, 3] that is not from a record.

    Args:
        image: [H, W, 3].
        name: Name of the file or the frame.
        encoded: Content of a JPEG or PNG file, or None to omit the feature.
    """
    example = tf.train.Example()
    features = example.features.feature
    features[TfExample.height].int64_list.value.append(image.shape[0])
    features[TfExample.width].int64_list.value.append(image.shape[1])
    for key in (TfExample.filename, TfExample.source_id):
        features[key].bytes_list.value.append(name.encode("utf-8", "surrogateescape"))
    if encoded is not None:
        image_format = b"jpeg" if encoded.startswith(b"\xff\xd8") else b"png"
        features[TfExample.encoded].bytes_list.value.append(encoded)
        features[TfExample.format].bytes_list.value.append(image_format)
    return example


def encoded_for_record(data: bytes, image: np.ndarray, *, apply_exif_orientation: bool) -> bytes:
    """Return a JPEG or PNG file that every reader of records decodes to `image`.

    Args:
        data: The file that the image was decoded from.
        image: [H, W, 3] uint8 from `image_files.decode_image`.
        apply_exif_orientation: The value that the image was decoded with. Readers of records do not
            apply the EXIF orientation.
    """
    with image_files.open_image(data) as original:
        was_rotated = apply_exif_orientation and image_files.exif_orientation(original) != 1
        if original.format in ("JPEG", "PNG") and not was_rotated:
            return data
    return image_files.encode_png(image)


def with_image_size(error: Exception, image: np.ndarray) -> str:
    """Return an error's message with the size of the image [H, W, 3] that caused it."""
    height, width = image.shape[:2]
    return f"{error} ({width}x{height} pixels)"


def _load_image_file(path: Path, options: ReadingOptions) -> DecodedImage:
    data = image_files.read_regular_file(path)
    orient = options.apply_exif_orientation
    image = image_files.decode_image(data, apply_exif_orientation=orient)
    name = path.as_posix()
    example = None
    if options.with_example:
        encoded = None
        if options.with_encoded:
            encoded = encoded_for_record(data, image, apply_exif_orientation=orient)
        example = make_example(image, name, encoded)
    return DecodedImage(image, {"file_name": name}, example)
