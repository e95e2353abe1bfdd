"""Images of a TFRecord file of `tf.train.Example`s."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from object_detection_mtl.data import dataset_options, graph_errors, image_files, record_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.fields import TfExample
from object_detection_mtl.inference.sources.image_source import (
    DecodedImage,
    ImageEntry,
    ReadingOptions,
    file_version,
)
from object_detection_mtl.inference.sources.input_files import InputFile

# A few records are enough: the decoding threads read ahead themselves.
_READ_AHEAD = 2


class RecordSource:
    """The images of one TFRecord file, up to the first corrupt record.

    Attributes:
        count: Number of records.
        version: Fingerprint that changes with the file.
    """

    def __init__(self, file: InputFile, options: ReadingOptions) -> None:
        self._file = file
        self._options = options
        self._offsets, self._damage = _scan_records(str(file.path))
        self.count = len(self._offsets)
        self.version = file_version(file.path, self.count)

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[ImageEntry | None]:
        """Yield all images in order, None for those that are done; see `ImageSource`."""
        positions = range(self.count)
        done = np.fromiter((is_done(position) for position in positions), bool, self.count)
        waiting = np.flatnonzero(~done)
        payloads = zip(
            waiting, _read_payloads(str(self._file.path), self._offsets[waiting]), strict=True
        )
        following = next(payloads, None)
        for position in positions:
            if following is None or position != following[0]:
                yield None
                continue
            yield self._entry(position, following[1])
            following = next(payloads, None)
        if self._damage is not None:
            raise self._damage

    def _entry(self, position: int, payload: bytes | None) -> ImageEntry:
        label = f"{self._file.path}:{position}"
        load = functools.partial(_load_record, payload, label, self._options)
        return ImageEntry(label, load, f"{position:06d}.jpg")


def parse_example(serialized: bytes) -> tf.train.Example:
    """Parse a record.

    Raises:
        ImageError: The record is not a `tf.train.Example`, or has no encoded image.
    """
    try:
        example = tf.train.Example.FromString(serialized)
    except DecodeError:
        raise ImageError("the record is not a tf.train.Example") from None
    if not bytes_feature(example, TfExample.encoded):
        present = ", ".join(sorted(example.features.feature)[:5]) or "nothing"
        raise ImageError(f"the record has no image in {TfExample.encoded!r} (it has {present})")
    return example


def bytes_feature(example: tf.train.Example, key: str) -> bytes:
    """Return the first value of a bytes feature, or b"" if there is none."""
    # Indexing the map with an absent key would add it.
    if key not in example.features.feature:
        return b""
    values = example.features.feature[key].bytes_list.value
    return values[0] if values else b""


def _load_record(payload: bytes | None, label: str, options: ReadingOptions) -> DecodedImage:
    if payload is None:
        raise ImageError("the record is corrupt: its checksum does not match")
    example = parse_example(payload)
    encoded = bytes_feature(example, TfExample.encoded)
    image = image_files.decode_image(encoded, apply_exif_orientation=False)
    description = {"file_name": label, "record": label}
    for key, feature in (("file_name", TfExample.filename), ("source_id", TfExample.source_id)):
        value = bytes_feature(example, feature)
        if value:
            description[key] = value.decode("utf-8", "replace")
    return DecodedImage(image, description, example if options.with_example else None)


def _scan_records(path: str) -> tuple[np.ndarray, Exception | None]:
    """Return the offset of each record, and the error that ends the file early."""
    try:
        found = record_files.scan_records(path)
    except OSError as error:
        return np.zeros(0, np.int64), error
    number = len(found.offsets)
    if found.error is not None:
        return found.offsets, ImageError(_damage_reason(found.error, path, number))
    return found.offsets, None if number else ImageError("the file is empty")


def _damage_reason(damage: Exception, path: str, number: int) -> str:
    """Return what is wrong with the file, without its name."""
    kept = f" ({number} before it used)" if number else ""
    return str(damage).removeprefix(f"{path} ") + kept


def _read_payloads(path: str, offsets: np.ndarray) -> Iterator[bytes | None]:
    """Yield the records at some offsets, None for one whose checksum does not match."""

    def read(offset: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        attempt = record_files.record_at(tf.constant(path), offset).map(lambda data: (True, data))
        return graph_errors.first_or(attempt, (tf.constant(False), tf.constant("")))

    dataset = tf.data.Dataset.from_tensor_slices(offsets).map(read).prefetch(_READ_AHEAD)
    dataset = dataset.with_options(dataset_options.fixed_parallelism())
    for is_intact, data in dataset.as_numpy_iterator():
        yield data if is_intact else None
