"""Decoded images of training, kept in memory or on disk.

A tf.data cache repeats its elements in the order of the first pass. The order here differs in each
epoch and a run resumes anywhere, so images are kept by the numbers of their records, and each
example is the same with and without the cache. All is done by TensorFlow operations: the threads of
the input pipeline never wait for Python.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Protocol

import tensorflow as tf
from absl import logging

from object_detection_mtl.data import cache_room, graph_errors
from object_detection_mtl.data.record_files import RecordIndex

MEMORY = "memory"
DISK = "disk"
KINDS = (MEMORY, DISK)
# Entries of one directory on disk.
_PER_DIRECTORY = 1000
_ENTRY = "image"
# States of an entry on disk; absent ones have the default.
_ABSENT, _STORED, _FAILED = 0, 1, 2
_REPORTED = -1  # key, of no record: whether a failed write was reported
_SUFFIXES = (".index", ".data-00000-of-00001")


class _ImageStore(Protocol):
    """A place of images, by record numbers."""

    def image(self, record: tf.Tensor, decode: Callable[[], tf.Tensor]) -> tf.Tensor:
        """See `DecodedImageCache.image`."""

    def num_stored(self) -> int:
        """Return the number of images that are stored."""


class DecodedImageCache:
    """Decoded images of the records of one training.

    Several pipelines of a process may share a cache, if they read the same records.
    """

    def __init__(
        self,
        kind: str,
        directory: str | None = None,
        *,
        report: Callable[[str], None] = logging.info,
        available: Callable[[str, str | None], int] = cache_room.available_bytes,
    ) -> None:
        """Prepare; nothing is stored yet.

        Args:
            kind: "memory" or "disk".
            directory: of the images on disk; no other process may use it.
            report: gets a line about the size of the cache.
            available: (kind, directory) -> bytes that can be used.

        Raises:
            ValueError: another kind, or a directory that is not on a local disk.
        """
        if kind not in KINDS:
            raise ValueError(f"cache is {kind!r}, expected one of {', '.join(KINDS)}")
        if kind == DISK and "://" in str(directory):
            raise ValueError(
                f"cache is 'disk', and the decoded images would be in {directory!r}: they need a "
                "local directory. Train with cache 'memory' or without"
            )
        self._kind = kind
        self._directory = directory
        self._report = report
        self._available = available
        self._records: str | None = None
        self._store: _ImageStore | None = None

    def open(self, index: RecordIndex, max_pixels: int) -> None:
        """Make the cache of some records; a second call with the same records does nothing.

        Args:
            index: the records.
            max_pixels: largest height * width of an image that is decoded.

        Raises:
            ValueError: the images do not fit, or the cache has other records.
        """
        records = _fingerprint(index, max_pixels)
        if self._records is not None:
            if records != self._records:
                raise ValueError("this cache has the decoded images of other records")
            return
        needed = cache_room.decoded_bytes(index)
        store: _ImageStore
        if self._kind == MEMORY:
            self._check_room(needed, len(index), 0)
            store = _MemoryStore()
        else:
            assert self._directory is not None
            directory = os.path.join(self._directory, records)
            stored = _stored_records(directory)
            self._check_room(needed, len(index), len(stored))
            _remove_others(self._directory, records)
            os.makedirs(directory, exist_ok=True)
            store = _DiskStore(directory, stored)
        self._records, self._store = records, store

    def image(self, record: tf.Tensor, decode: Callable[[], tf.Tensor]) -> tf.Tensor:
        """Return the image of a record, in a graph; it is decoded and stored if it is absent.

        Args:
            record: number of the record in the index, an integer [].
            decode: decodes the image, [H, W, 3] uint8. An error is raised, and nothing is stored.

        Returns:
            The image, [H, W, 3] uint8.
        """
        assert self._store is not None, "open comes first"
        return self._store.image(tf.cast(record, tf.int64), decode)

    def num_stored(self) -> int:
        """Return the number of images that are stored."""
        return self._store.num_stored() if self._store else 0

    def _check_room(self, needed: int, num_records: int, num_stored: int) -> None:
        """Report the size of the cache, or refuse one that does not fit."""
        missing = needed * (num_records - num_stored) // num_records
        room = self._available(self._kind, self._directory)
        size = f"{num_records} decoded images take about {cache_room.gigabytes(needed)}"
        if num_stored:
            size += f", {num_stored} are there"
        place = "memory" if self._kind == MEMORY else f"{self._directory}"
        if missing > room:
            other = DISK if self._kind == MEMORY else MEMORY
            raise ValueError(
                f"cache is {self._kind!r}, but {size}; {cache_room.gigabytes(room)} can be used in "
                f"{place}. Give cache {other!r} if there is room, or train without a cache"
            )
        self._report(f"cache: {size}; {cache_room.gigabytes(room)} can be used in {place}")


class _MemoryStore:
    """Images in memory; a table holds references to them, so that none is copied."""

    def __init__(self) -> None:
        with tf.init_scope(), tf.device("CPU:0"):
            self._images = tf.lookup.experimental.MutableHashTable(
                tf.int64, tf.variant, _empty_list()
            )

    def image(self, record: tf.Tensor, decode: Callable[[], tf.Tensor]) -> tf.Tensor:
        found = self._images.lookup(record)

        def held() -> tf.Tensor:
            return tf.raw_ops.TensorListGetItem(
                input_handle=found, index=0, element_shape=[-1, -1, 3], element_dtype=tf.uint8
            )

        def kept() -> tf.Tensor:
            image = decode()
            held_image = tf.raw_ops.TensorListPushBack(input_handle=_empty_list(), tensor=image)
            with tf.control_dependencies([self._images.insert(record, held_image)]):
                return tf.identity(image)

        length = tf.raw_ops.TensorListLength(input_handle=found)
        return tf.ensure_shape(tf.cond(length > 0, held, kept), [None, None, 3])

    def num_stored(self) -> int:
        return int(self._images.size())


def _empty_list() -> tf.Tensor:
    return tf.raw_ops.EmptyTensorList(
        element_shape=tf.constant([-1, -1, 3]), max_num_elements=1, element_dtype=tf.uint8
    )


class _DiskStore:
    """Images in files of TensorFlow's checkpoint format.

    Its writer renames finished files, the index last, and the index has a checksum: an entry of a
    killed run or a corrupt disk is never read as an image.
    """

    def __init__(self, directory: str, stored: list[int]) -> None:
        self._directory = directory
        with tf.init_scope(), tf.device("CPU:0"):
            self._states = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, _ABSENT)
            self._states.insert(
                tf.constant(stored, tf.int64),
                tf.fill([len(stored)], tf.constant(_STORED, tf.int64)),
            )

    def image(self, record: tf.Tensor, decode: Callable[[], tf.Tensor]) -> tf.Tensor:
        path = tf.strings.join(
            [
                self._directory,
                tf.strings.as_string(record // _PER_DIRECTORY),
                tf.strings.as_string(record % _PER_DIRECTORY),
            ],
            "/",
        )
        nothing = tf.zeros([0, 0, 3], tf.uint8)
        state = self._states.lookup(record)

        def restored() -> tf.Tensor:
            return graph_errors.first_or(tf.data.Dataset.from_tensors(path).map(_restore), nothing)

        def kept() -> tf.Tensor:
            image = decode()
            store = tf.cond(state == _FAILED, tf.no_op, lambda: self._save(record, path, image))
            with tf.control_dependencies([store]):
                return tf.identity(image)

        found = tf.cond(state == _STORED, restored, lambda: nothing)
        image = tf.cond(tf.size(found) > 0, lambda: found, kept)
        return tf.ensure_shape(image, [None, None, 3])

    def _save(self, record: tf.Tensor, path: tf.Tensor, image: tf.Tensor) -> tf.Operation:
        """Write an entry; a write that fails, such as to a full disk, is reported once."""

        def attempt(path: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
            write = tf.raw_ops.SaveV2(
                prefix=path, tensor_names=[_ENTRY], shape_and_slices=[""], tensors=[image]
            )
            with tf.control_dependencies([write]):
                return tf.constant(_STORED, tf.int64)

        attempted = tf.data.Dataset.from_tensors((path, image)).map(attempt)
        state = graph_errors.first_or(attempted, tf.constant(_FAILED, tf.int64))
        known = self._states.insert(record, state)
        key = tf.constant(_REPORTED, tf.int64)

        def report() -> tf.Operation:
            line = tf.print(
                "cache: a decoded image cannot be written, the disk may be full; images that are "
                "not in the cache are decoded again:",
                path,
            )
            with tf.control_dependencies([line]):
                return tf.group(self._states.insert(key, tf.constant(_FAILED, tf.int64)))

        is_new = (state == _FAILED) & (self._states.lookup(key) == _ABSENT)
        return tf.group(known, tf.cond(is_new, report, tf.no_op))

    def num_stored(self) -> int:
        _, states = self._states.export()
        return int(tf.math.count_nonzero(states == _STORED))


def _restore(path: tf.Tensor) -> tf.Tensor:
    [image] = tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=[_ENTRY], shape_and_slices=[""], dtypes=[tf.uint8]
    )
    return tf.ensure_shape(image, [None, None, 3])


def _fingerprint(index: RecordIndex, max_pixels: int) -> str:
    """Return a name for the images of these records, as this version of TensorFlow decodes them."""
    digest = hashlib.sha256(f"{tf.__version__} {max_pixels}".encode())
    for path in index.files:
        stat = tf.io.gfile.stat(path)
        digest.update(f"{os.path.abspath(path)} {stat.length} {stat.mtime_nsec}\n".encode())
    digest.update(index.file_numbers.tobytes())
    digest.update(index.offsets.tobytes())
    return digest.hexdigest()[:16]


def _stored_records(directory: str) -> list[int]:
    """Return the record numbers of complete entries; remove what a killed run left of others."""
    stored = []
    for group, entry, names in _entries(directory):
        if names == set(_SUFFIXES):
            stored.append(int(group) * _PER_DIRECTORY + int(entry))
            continue
        for name in names:
            os.remove(os.path.join(directory, group, entry + name))
    return sorted(stored)


def _entries(directory: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (subdirectory, entry, suffixes of its files)."""
    if not os.path.isdir(directory):
        return
    for group in filter(str.isdecimal, os.listdir(directory)):
        suffixes: dict[str, set[str]] = {}
        for name in os.listdir(os.path.join(directory, group)):
            match = re.fullmatch(r"(\d+)(\..*)", name)
            if match:
                suffixes.setdefault(match[1], set()).add(match[2])
        for entry, names in suffixes.items():
            yield group, entry, names


def _remove_others(directory: str, kept: str) -> None:
    """Remove the images of records that have changed."""
    if not os.path.isdir(directory):
        return
    for name in os.listdir(directory):
        if name != kept and re.fullmatch(r"[0-9a-f]{16}", name):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
