"""Examples with detections as a TFRecord that grows: whole records only, whatever interrupts it.

    <output_dir>/detections.record              when the run is complete
    <output_dir>/detections.record.incomplete   until then

The journal knows for every picture where its record ends. A run that goes on cuts off what lies
beyond: the record of a picture that was not noted as done any more.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import tensorflow as tf

from object_detection_mtl.data import records

NAME = "detections.record"


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
        self.whole = records.scan(str(self._incomplete)).end
        self._file = self._incomplete.open("r+b")
        self._scratch = tempfile.TemporaryDirectory(prefix="detections")

    def go_on_at(self, end: int) -> None:
        """Forgets all records from a byte on, which is the end of one; 0 begins anew."""
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, serialized: bytes) -> int:
        """Appends an example; returns where it ends."""
        # TensorFlow's writer makes the checksums, but begins every file anew.
        scratch = os.path.join(self._scratch.name, "one.record")
        with tf.io.TFRecordWriter(scratch) as writer:
            writer.write(serialized)
        self._file.write(Path(scratch).read_bytes())
        self._file.flush()
        return self._file.tell()

    def finish(self) -> None:
        """The run is complete."""
        self._file.close()
        os.replace(self._incomplete, self._path)

    def close(self) -> None:
        self._file.close()
        self._scratch.cleanup()
