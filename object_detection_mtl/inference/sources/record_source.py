"""The pictures of a TFRecord file of `tf.train.Example`s."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import example_decoder, record_files
from object_detection_mtl.fields import TfExample
from object_detection_mtl.inference.sources import examples, input_files
from object_detection_mtl.inference.sources.examples import Content
from object_detection_mtl.inference.sources.image_source import Entry, Reading, version_of
from object_detection_mtl.inference.sources.input_files import PictureError, PictureFile

# Records are a few, as the threads that decode them read ahead themselves.
_READ_AHEAD = 2


class RecordSource:
    """One record file. What lies before a damaged place of it is used.

    Attributes: see `sources.Source`.
    """

    def __init__(self, file: PictureFile, reading: Reading) -> None:
        self._file = file
        self._reading = reading
        self._offsets, self._damage = _scan(str(file.path))
        self.count = len(self._offsets)
        self.version = version_of(file.path, self.count)

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[Entry | None]:
        places = range(self.count)
        done = np.fromiter((is_done(place) for place in places), bool, self.count)
        waiting = np.flatnonzero(~done)
        payloads = zip(
            waiting, _payloads(str(self._file.path), self._offsets[waiting]), strict=True
        )
        following = next(payloads, None)
        for place in places:
            if following is None or place != following[0]:
                yield None
                continue
            yield self._entry(place, following[1])
            following = next(payloads, None)
        if self._damage is not None:
            raise self._damage

    def _entry(self, place: int, payload: bytes | None) -> Entry:
        label = f"{self._file.path}:{place}"
        load = functools.partial(_load, payload, label, self._reading)
        return Entry(label, load, f"{place:06d}.jpg")


def _load(payload: bytes | None, label: str, reading: Reading) -> Content:
    if payload is None:
        raise PictureError("the record is damaged: its checksum is another one")
    example = examples.parse(payload)
    encoded = examples.text(example, TfExample.encoded)
    picture = input_files.decode(encoded, apply_exif_orientation=False)
    image = {"file_name": label, "record": label}
    for key, feature in (("file_name", TfExample.filename), ("source_id", TfExample.source_id)):
        value = examples.text(example, feature)
        if value:
            image[key] = value.decode("utf-8", "replace")
    return Content(picture, image, example if reading.with_example else None)


def _scan(path: str) -> tuple[np.ndarray, Exception | None]:
    try:
        found = record_files.scan(path)
    except OSError as error:
        return np.zeros(0, np.int64), error
    number = len(found.offsets)
    if found.damage is not None:
        return found.offsets, PictureError(_reason(found.damage, path, number))
    return found.offsets, None if number else PictureError("the file is empty")


def _reason(damage: Exception, path: str, number: int) -> str:
    """What is wrong with the file, without its name."""
    kept = f" ({number} before that are used)" if number else ""
    return str(damage).removeprefix(f"{path} ") + kept


def _payloads(path: str, offsets: np.ndarray) -> Iterator[bytes | None]:
    """The records at some offsets, None for one whose checksum is wrong."""

    def read(offset: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        attempt = record_files.record_at(tf.constant(path), offset).map(lambda data: (True, data))
        return example_decoder.first_or(attempt, (tf.constant(False), tf.constant("")))

    dataset = tf.data.Dataset.from_tensor_slices(offsets).map(read).prefetch(_READ_AHEAD)
    for is_whole, data in dataset.as_numpy_iterator():
        yield data if is_whole else None
