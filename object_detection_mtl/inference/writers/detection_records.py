"""Examples with detections as a TFRecord that grows: whole records only, whatever interrupts it.

    <output_dir>/detections.record              when the run is complete
    <output_dir>/detections.record.incomplete   until then

The journal knows for every picture where its record ends. A run that goes on cuts off what lies
beyond: the record of a picture that was not noted as done any more.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import tensorflow as tf

from object_detection_mtl.data import record_files

NAME = "detections.record"
# A scratch file is begun anew from this size on.
_SCRATCH_BYTES = 2**26


class RecordOutput:
    """The record of one run.

    Attributes:
        whole: bytes of whole records that an interrupted run has left.
    """

    def __init__(self, directory: Path) -> None:
        """Args:
        directory: exists.
        """
        self._path = directory / NAME
        self._incomplete = directory / f"{NAME}.incomplete"
        self._incomplete.touch()
        self.whole = record_files.scan(str(self._incomplete)).end
        self._file = self._incomplete.open("r+b")
        self._framing = _Framing()

    def go_on_at(self, end: int) -> None:
        """Forgets all records from a byte on, which is the end of one; 0 begins anew."""
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, serialized: bytes) -> int:
        """Appends an example; returns where it ends."""
        self._file.write(self._framing.framed(serialized))
        self._file.flush()
        return self._file.tell()

    def finish(self) -> None:
        """The run is complete."""
        self._file.close()
        os.replace(self._incomplete, self._path)

    def close(self) -> None:
        self._file.close()
        self._framing.close()


class _Framing:
    """Makes records of bytes: with their length and checksums.

    TensorFlow's writer can do that fast, but only into a file, which it begins anew. So it writes
    into a scratch file, from where each record is read.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="detections")
        self._open = contextlib.ExitStack()
        self._begin()

    def _begin(self) -> None:
        self._open.close()
        path = os.path.join(self._directory.name, "scratch.record")
        self._writer = self._open.enter_context(tf.io.TFRecordWriter(path))
        self._reader = self._open.enter_context(open(path, "rb"))

    def framed(self, data: bytes) -> bytes:
        if self._reader.tell() > _SCRATCH_BYTES:
            self._begin()
        self._writer.write(data)
        self._writer.flush()
        return self._reader.read()

    def close(self) -> None:
        self._open.close()
        self._directory.cleanup()
