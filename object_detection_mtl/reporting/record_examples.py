"""Examples of record files as a report reads them: without pixels, every value checked."""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from object_detection_mtl.fields import TfExample

_MAX_SIDE = 10**9  # pixels
_MAX_INTEGER = 2**53  # greater ones are not exact in float64
# Length and checksum before the data of a TFRecord.
_RECORD_HEADER = struct.Struct("<QI")


@dataclasses.dataclass(frozen=True)
class RecordExample:
    """One tf.train.Example without its image.

    Attributes:
        path: record file.
        offset: byte at which the record begins.
        position: number of the record in its file, from 0.
        features: name -> tf.train.Feature.
    """

    path: str
    offset: int
    position: int
    features: Any

    @property
    def where(self) -> str:
        """The place of the example, for error messages."""
        return f"{self.path}, record at byte {self.offset}"

    @property
    def name(self) -> str:
        """The source id, else the file name, else an empty text."""
        names = self.texts(TfExample.source_id) + self.texts(TfExample.filename)
        return next(filter(None, names), "")

    @property
    def evaluated_name(self) -> str:
        """The name of the image in an evaluation: of a record without name its place."""
        return self.name or f"{self.path}, record {self.position}, at byte {self.offset}"

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width in pixels; None where the record lacks them."""
        sides = [self.numbers(key) for key in (TfExample.height, TfExample.width)]
        if any(len(side) == 0 or not 1 <= side[0] <= _MAX_SIDE for side in sides):
            return None
        return int(sides[0][0]), int(sides[1][0])

    def numbers(self, key: str) -> np.ndarray:
        """Return the values of a feature, float64 [N]; none where it is absent.

        Raises:
            ValueError: the feature holds texts.
        """
        kind, values = self._values(key)
        if kind == "bytes_list" and len(values):
            raise ValueError(f"{self.where}: {key} holds texts, expected numbers")
        return np.asarray(values, np.float64)

    def integers(self, key: str) -> np.ndarray:
        """Return the values of a feature, int64 [N]; none where it is absent.

        Raises:
            ValueError: the feature holds texts, or a value is not an integer.
        """
        values = self.numbers(key)
        is_integer = (np.abs(values) <= _MAX_INTEGER) & (values == np.floor(values))
        for value in values[~is_integer]:
            raise ValueError(f"{self.where}: {key} is {value}, expected an integer")
        return values.astype(np.int64)

    def texts(self, key: str) -> list[str]:
        """Return the values of a feature; numbers become texts."""
        kind, values = self._values(key)
        if kind == "bytes_list":
            return [value.decode("utf-8", "replace") for value in values]
        return [str(value) for value in values]

    def boxes(self, keys: Sequence[str], height: int, width: int) -> np.ndarray:
        """Return boxes [N, 4] (ymin, xmin, ymax, xmax) in pixels.

        Args:
            keys: features with the four sides, fractions of the image, in this order.
            height: of the image, in pixels.
            width: of the image, in pixels.

        Raises:
            ValueError: the features differ in length, or a value is not finite.
        """
        sides = [self.numbers(key) for key in keys]
        if len({len(side) for side in sides}) > 1:
            lengths = ", ".join(
                f"{len(side)} in {key}" for key, side in zip(keys, sides, strict=True)
            )
            raise ValueError(
                f"{self.where}: the sides of boxes differ in number ({lengths}); expected as many "
                "of each"
            )
        boxes = np.stack(sides, axis=1) * [height, width, height, width]
        for position in np.flatnonzero(~np.isfinite(boxes).all(axis=1)):
            raise ValueError(
                f"{self.where}: box {position} of image {self.name!r} is "
                f"{boxes[position].tolist()}, expected finite numbers"
            )
        return boxes

    def read_image(self) -> bytes:
        """Read the encoded image.

        Raises:
            ValueError: the record has none.
        """
        values = _parse(self.path, self.offset)[TfExample.encoded].bytes_list.value
        if not values:
            raise ValueError(f"{self.where} has no image")
        return bytes(values[0])

    def _values(self, key: str) -> tuple[str | None, Sequence[Any]]:
        if key not in self.features:
            return None, ()
        feature = self.features[key]
        kind = feature.WhichOneof("kind")
        return kind, getattr(feature, kind).value if kind else ()


def read_examples(pattern: str) -> Iterator[RecordExample]:
    """Yield the examples of record files, in their order.

    Raises:
        ValueError, FileNotFoundError: there is no such file, it is not a TFRecord, or a record is
            not an example.
    """
    from object_detection_mtl.data import record_files

    index = record_files.index_records(pattern)
    for number, offset, position in zip(
        index.file_numbers, index.offsets, index.positions, strict=True
    ):
        path = index.files[number]
        features = _parse(path, int(offset))
        features.pop(TfExample.encoded, None)
        yield RecordExample(path, int(offset), int(position), features)


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """Size and encoded pixels of an image.

    Attributes:
        height, width: pixels; None where the record lacks them.
        example: has the encoded image.
    """

    height: int | None
    width: int | None
    example: RecordExample

    def read_bytes(self) -> bytes:
        """Read the encoded image."""
        return self.example.read_image()


def image_sources(patterns: Iterable[str]) -> dict[str, StoredImage]:
    """Return the name of the image in an evaluation -> its source, of every record.

    Of several records with the same name the first is used.
    """
    sources: dict[str, StoredImage] = {}
    for pattern in patterns:
        for example in read_examples(pattern):
            height, width = example.size or (None, None)
            sources.setdefault(example.evaluated_name, StoredImage(height, width, example))
    return sources


def _parse(path: str, offset: int) -> Any:
    """Return the features of the tf.train.Example that a record holds."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.example.example_pb2 import Example

    with open(path, "rb") as file:
        file.seek(offset)
        header = file.read(_RECORD_HEADER.size)
        length = _RECORD_HEADER.unpack(header)[0] if len(header) == _RECORD_HEADER.size else -1
        data = file.read(length) if 0 <= length <= os.fstat(file.fileno()).st_size else None
    if data is None or len(data) < length:
        raise ValueError(f"{path}, record at byte {offset} does not exist; was the file replaced?")
    try:
        return Example.FromString(data).features.feature
    except DecodeError:
        raise ValueError(
            f"{path}, record at byte {offset}: {length} bytes, not a tf.train.Example"
        ) from None
