"""Finding record files and where in them each record starts.

A TFRecord file is a row of records: 8 bytes length, 4 bytes checksum of the length, the data,
4 bytes checksum of the data; numbers are little-endian. Reading the lengths alone walks through a
file of any size in moments, finds files that are cut short before training starts, and yields the
places of all records, so that they can be read in any order.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from object_detection_mtl.config.errors import suggestion

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """Where the records are: record r starts at byte offsets[r] of files[file_numbers[r]]."""

    files: tuple[str, ...]
    file_numbers: np.ndarray  # int32 [number of records]
    offsets: np.ndarray  # int64 [number of records]

    def __len__(self) -> int:
        return len(self.offsets)

    def every(self, n: int) -> RecordIndex:
        """Every n-th record, starting with the first."""
        return RecordIndex(self.files, self.file_numbers[::n], self.offsets[::n])


def expand_patterns(patterns: str | Iterable[str]) -> tuple[str, ...]:
    """Files that match, each once; patterns in their order, the files of one alphabetically.

    Raises:
      ValueError: no pattern at all.
      FileNotFoundError: a pattern that matches nothing.
    """
    patterns = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns]
    if not [pattern for pattern in patterns if pattern]:
        raise ValueError(
            "no record file is named: tf_record_input_reader { input_path } of the input reader is "
            "empty, expected at least one path or pattern"
        )
    files: dict[str, None] = {}
    for pattern in patterns:
        # A path that exists is itself, even if it looks like a pattern.
        found = [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern))
        found = [path for path in found if not tf.io.gfile.isdir(path)]
        if not found:
            raise FileNotFoundError(f"input_path: {_why_nothing_matches(pattern)}")
        files.update(dict.fromkeys(found))
    return tuple(files)


def _why_nothing_matches(pattern: str) -> str:
    if tf.io.gfile.isdir(pattern):
        return f"{pattern!r} is a folder; name its record files, such as {pattern.rstrip('/')}/*"
    folder, _, name = pattern.rpartition("/")
    if not tf.io.gfile.isdir(folder or "."):
        return f"no file matches {pattern!r}: there is no folder {folder!r}"
    hint = suggestion(name, tf.io.gfile.listdir(folder or "."))
    return (
        f"no file matches {pattern!r} (* and ? match any letters); shards are named like "
        f"train.record-00000-of-00010{hint}"
    )


def index_records(patterns: str | Iterable[str]) -> RecordIndex:
    """Finds the records of all files that match.

    Raises:
      ValueError, FileNotFoundError: as expand_patterns.
      ValueError: a file that is cut short or no TFRecord, with its name and the byte position; or
        files without a single record.
    """
    files = expand_patterns(patterns)
    offsets = [_record_offsets(path) for path in files]
    if not any(len(of_file) for of_file in offsets):
        raise ValueError(f"there is no record in {', '.join(files)}: the file is empty")
    return RecordIndex(
        files=files,
        file_numbers=np.repeat(
            np.arange(len(files), dtype=np.int32), [len(of_file) for of_file in offsets]
        ),
        offsets=np.concatenate(offsets),
    )


def _record_offsets(path: str) -> np.ndarray:
    found = scan(path)
    if found.damage is not None:
        raise found.damage
    return found.offsets


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a file holds, up to its end or to where it is damaged.

    Attributes:
      offsets: int64, where each whole record starts.
      end: where the last of them ends.
      damage: what is wrong there, a file that is cut short or no TFRecord; None for a whole file.
    """

    offsets: np.ndarray
    end: int
    damage: ValueError | None


def scan(path: str) -> Scan:
    """Finds the records of one file; checksums of the data are not looked at."""
    size = tf.io.gfile.stat(path).length
    offsets: list[int] = []
    damage = None
    position = 0
    with _open(path) as file:
        while position < size:
            file.seek(position)
            try:
                end = _record_end(file.read(_HEADER.size), path, position, size, len(offsets))
            except ValueError as error:
                damage = error
                break
            offsets.append(position)
            position = end
    return Scan(np.array(offsets, np.int64), position, damage)


def _record_end(header: bytes, path: str, position: int, size: int, number: int) -> int:
    if len(header) < _HEADER.size:
        raise _cut_short(path, position, size, number)
    length, checksum = _HEADER.unpack(header)
    if _masked_crc32c(header[:8]) != checksum:
        raise _no_record(path, position, header, number)
    end = position + _HEADER.size + length + _FOOTER_BYTES
    if end > size:
        raise _cut_short(path, position, size, number)
    return end


def is_record_file(path: str) -> bool:
    """Whether a file starts like a TFRecord: the header of one has a checksum of its own."""
    with _open(path) as file:
        header = file.read(_HEADER.size)
    return len(header) == _HEADER.size and _masked_crc32c(header[:8]) == _HEADER.unpack(header)[1]


def record_at(path: tf.Tensor, offset: tf.Tensor) -> tf.data.Dataset:
    """A data set of the one record that starts at `offset`; for use in another's function."""
    # TFRecordDataset itself always starts at byte 0; the operation below it need not. Unbuffered:
    # a buffer would read on into records that are not wanted.
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=[offset],
    )
    spec = tf.TensorSpec([], tf.string)
    return tf.data.experimental.from_variant(variant, spec).take(1)


def _open(path: str) -> BinaryIO:
    """Local files without TensorFlow's file system, whose seeks cost ten times as much."""
    if "://" in path:
        return tf.io.gfile.GFile(path, "rb")
    return open(path, "rb", buffering=4096)


def _cut_short(path: str, position: int, size: int, number: int) -> ValueError:
    return ValueError(
        f"{path} is cut short: record number {number} (counted from 0) starts at byte {position} "
        f"and should go on beyond the end of the file at byte {size}. Make or copy the file again"
    )


def _no_record(path: str, position: int, header: bytes, number: int) -> ValueError:
    if position:
        what = f"is damaged: at byte {position}, after {number} records, there is no record header"
    elif header.startswith(b"\x1f\x8b"):
        what = "is compressed with gzip (byte 0): unpack it first"
    else:
        what = f"is not a TFRecord file: at byte 0 it starts with {header[:8]!r}"
    return ValueError(f"{path} {what}")


def _masked_crc32c(data: bytes) -> int:
    """The checksum of the TFRecord format: CRC-32C, rotated and offset."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)
