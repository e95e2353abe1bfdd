"""TFRecord files: find them and index their records.

A TFRecord file is a sequence of records: 8 bytes length, 4 bytes checksum of the length, the data,
4 bytes checksum of the data; numbers are little-endian. Reading only the lengths is fast for files
of any size, finds truncated files before training starts, and yields the offsets of all records, so
that they can be read in any order.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import google_crc32c
import numpy as np
import tensorflow as tf

from object_detection_mtl.config.errors import listing, suggestion

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """Index of records: record r starts at byte offsets[r] of files[file_numbers[r]]."""

    files: tuple[str, ...]
    file_numbers: np.ndarray  # int32 [number of records]
    offsets: np.ndarray  # int64 [number of records]
    positions: np.ndarray  # int64 [number of records], from 0, in the file of the record

    def __len__(self) -> int:
        return len(self.offsets)

    def every(self, n: int) -> RecordIndex:
        """Return the index of every n-th record, starting with the first."""
        return RecordIndex(
            self.files, self.file_numbers[::n], self.offsets[::n], self.positions[::n]
        )

    def files_without_records(self) -> list[str]:
        """Return the files of which this index has no record."""
        found = set(np.unique(self.file_numbers).tolist())
        return [path for number, path in enumerate(self.files) if number not in found]

    def place(self, record: int) -> str:
        """Return file, position in the file and byte of a record as text."""
        path = self.files[self.file_numbers[record]]
        return f"{path}, record {self.positions[record]}, at byte {self.offsets[record]}"


def expand_patterns(patterns: str | Iterable[str], name: str = "input_path") -> tuple[str, ...]:
    """Return the files that match patterns, each once.

    Args:
        patterns: one or several paths or patterns.
        name: of the field or flag that has them, for messages.

    Returns:
        The files in the order of the patterns, those of one pattern in alphabetical order.

    Raises:
        ValueError: there is no pattern.
        FileNotFoundError: a pattern matches no file.
    """
    patterns = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns]
    if not [pattern for pattern in patterns if pattern]:
        raise ValueError(
            "no record file is given: tf_record_input_reader { input_path } of the input reader is "
            "empty, expected at least one path or pattern"
        )
    files: dict[str, None] = {}
    for pattern in map(os.path.expanduser, patterns):
        # An existing path is used literally, even if it looks like a pattern.
        found = [pattern] if tf.io.gfile.exists(pattern) else sorted(tf.io.gfile.glob(pattern))
        found = [path for path in found if not tf.io.gfile.isdir(path)]
        if not found:
            raise FileNotFoundError(f"{name}: {_why_nothing_matches(pattern)}")
        _raise_if_shard_is_missing(pattern, found)
        files.update(dict.fromkeys(found))
    return tuple(files)


# Patterns that mean all shards of a file, not some of them.
_ALL_SHARDS = re.compile(r"(-[?*]+-of-\d{5}|-[?*]+-of-[?*]+|\*)$")
_SHARD = re.compile(r"(?P<name>.*)-(?P<shard>\d{5})-of-(?P<number>\d{5})$")


def _raise_if_shard_is_missing(pattern: str, found: Sequence[str]) -> None:
    """Raise an error if a pattern means all shards of a file and finds others.

    Raises:
        FileNotFoundError: shards are missing.
        ValueError: there are shards of two conversions, with different numbers of shards.
    """
    if not _ALL_SHARDS.search(pattern):
        return
    files: dict[str, dict[str, set[int]]] = {}
    for match in filter(None, map(_SHARD.match, found)):
        shards = files.setdefault(match["name"], {}).setdefault(match["number"], set())
        shards.add(int(match["shard"]))
    for name, by_number in files.items():
        if len(by_number) > 1:
            raise ValueError(
                f"input_path: {pattern!r} finds the shards of two conversions, "
                f"{' and '.join(f'{name}-?????-of-{number}' for number in sorted(by_number))}; "
                "their images would be read twice. Give one of the two"
            )
        [(number, shards)] = by_number.items()
        missing = sorted(set(range(int(number))) - shards)
        if missing:
            names = [f"{name}-{shard:05d}-of-{number}" for shard in missing]
            raise FileNotFoundError(
                f"input_path: {pattern!r} means {int(number)} shards, but {len(missing)} do not "
                f"exist: {listing(names, 3)}. Copy or convert them again"
            )


def _why_nothing_matches(pattern: str) -> str:
    if tf.io.gfile.isdir(pattern):
        return f"{pattern!r} is a directory; give its record files, such as {pattern.rstrip('/')}/*"
    if "," in pattern:
        return (
            f"no file matches {pattern!r}; a list is not separated by commas: give one input_path "
            "for each file or pattern"
        )
    directory, _, name = pattern.rpartition("/")
    if not tf.io.gfile.isdir(directory or "."):
        return f"no file matches {pattern!r}: the directory {directory!r} does not exist"
    hint = suggestion(name, tf.io.gfile.listdir(directory or "."))
    return (
        f"no file matches {pattern!r} (* and ? match any characters); shards are named like "
        f"train.record-00000-of-00010{hint}"
    )


def index_records(patterns: str | Iterable[str]) -> RecordIndex:
    """Index the records of all files that match patterns.

    Args:
        patterns: see `expand_patterns`.

    Returns:
        The index.

    Raises:
        FileNotFoundError: a pattern matches no file.
        ValueError: there is no pattern, a file is truncated or not a TFRecord file (the message has
            its name and the byte position), or the files have no record.
    """
    files = expand_patterns(patterns)
    offsets = [_record_offsets(path) for path in files]
    if not any(len(of_file) for of_file in offsets):
        raise ValueError(f"{', '.join(files)}: no record, expected at least one; the file is empty")
    return RecordIndex(
        files=files,
        file_numbers=np.repeat(
            np.arange(len(files), dtype=np.int32), [len(of_file) for of_file in offsets]
        ),
        offsets=np.concatenate(offsets),
        positions=np.concatenate([np.arange(len(of_file)) for of_file in offsets]),
    )


def _record_offsets(path: str) -> np.ndarray:
    found = scan_records(path)
    if found.error is not None:
        raise found.error
    return found.offsets


@dataclasses.dataclass(frozen=True)
class RecordScan:
    """The complete records of a file, up to its end or to the first invalid byte.

    Attributes:
        offsets: int64, the byte at which each complete record starts.
        end: the byte at which the last of them ends.
        error: what is wrong at `end` (the file is truncated or not a TFRecord file); None for an
            intact file.
    """

    offsets: np.ndarray
    end: int
    error: ValueError | None


def scan_records(path: str) -> RecordScan:
    """Find the records of one file; the checksums of the data are not verified."""
    size = tf.io.gfile.stat(path).length
    offsets: list[int] = []
    failure = None
    position = 0
    with open_binary(path) as file:
        while position < size:
            file.seek(position)
            try:
                end = _record_end(file.read(_HEADER.size), path, position, size, len(offsets))
            except ValueError as error:
                failure = error
                break
            offsets.append(position)
            position = end
    return RecordScan(np.array(offsets, np.int64), position, failure)


def _record_end(header: bytes, path: str, position: int, size: int, number: int) -> int:
    if len(header) < _HEADER.size:
        raise _truncated(path, position, size, number)
    length, checksum = _HEADER.unpack(header)
    if _masked_crc32c(header[:8]) != checksum:
        raise _invalid_header(path, position, header, number)
    end = position + _HEADER.size + length + _CHECKSUM.size
    if end > size:
        raise _truncated(path, position, size, number)
    return end


def is_record_file(path: str) -> bool:
    """Return whether a file starts with a valid TFRecord header, which has its own checksum."""
    with open_binary(path) as file:
        header = file.read(_HEADER.size)
    return len(header) == _HEADER.size and _masked_crc32c(header[:8]) == _HEADER.unpack(header)[1]


def encode_record(data: bytes) -> bytes:
    """Return data as a record of a TFRecord file, with its length and checksums."""
    length = struct.pack("<Q", len(data))
    checksums = _CHECKSUM.pack(_masked_crc32c(length)), _CHECKSUM.pack(_masked_crc32c(data))
    return b"".join((length, checksums[0], data, checksums[1]))


def record_at(path: tf.Tensor, offset: tf.Tensor) -> tf.data.Dataset:
    """Return a dataset of the one record that starts at `offset`, for use in Dataset.map."""
    # TFRecordDataset always starts at byte 0; its operation takes an offset. A buffer would read
    # the following records too.
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=[offset],
    )
    spec = tf.TensorSpec([], tf.string)
    return tf.data.experimental.from_variant(variant, spec).take(1)


def open_binary(path: str) -> BinaryIO:
    """Open a file; Python seeks in local files ten times faster than TensorFlow."""
    if "://" in path:
        return tf.io.gfile.GFile(path, "rb")
    return open(path, "rb", buffering=4096)


def _truncated(path: str, position: int, size: int, number: int) -> ValueError:
    return ValueError(
        f"{path} is truncated: record number {number} (counted from 0) starts at byte {position} "
        f"and ends after the end of the file at byte {size}. Copy or convert the file again"
    )


def _invalid_header(path: str, position: int, header: bytes, number: int) -> ValueError:
    if position:
        what = f"is corrupt: at byte {position}, after {number} records, the header is invalid"
    elif header.startswith(b"\x1f\x8b"):
        what = "is compressed with gzip (byte 0): decompress it first"
    else:
        what = "is not a TFRecord file: the checksum of its first header does not match"
    return ValueError(f"{path} {what}")


def _masked_crc32c(data: bytes) -> int:
    """Return the checksum of the TFRecord format: CRC-32C, rotated and offset."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
