"""TFRecord of examples with detections, resumable after an interruption.

    <output_dir>/detections.record              after the run is complete
    <output_dir>/detections.record.incomplete   until then

The progress log has the end of each image's record. A resumed run truncates the file after the last
image that is done.
"""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from object_detection_mtl.data import record_files
from object_detection_mtl.fields import TfExample
from object_detection_mtl.inference.image_detections import ImageDetections

RECORD_FILE = "detections.record"
_BOX_KEYS = (
    TfExample.detection_ymin,
    TfExample.detection_xmin,
    TfExample.detection_ymax,
    TfExample.detection_xmax,
)


def add_detections(
    example: tf.train.Example, detections: ImageDetections, *, with_encoded: bool = True
) -> bytes:
    """Return the serialized example with detections, as the OD API's infer_detections adds them.

    Args:
        example: The example, changed in place; earlier detections are replaced.
        detections: Detections of its image.
        with_encoded: Keep the encoded image.
    """
    features = example.features.feature
    for key, values in zip(_BOX_KEYS, detections.boxes.T, strict=True):
        features[key].Clear()
        features[key].float_list.value.extend(values.tolist())
    features[TfExample.detection_score].Clear()
    features[TfExample.detection_score].float_list.value.extend(detections.scores.tolist())
    features[TfExample.detection_label].Clear()
    features[TfExample.detection_label].int64_list.value.extend(detections.classes.tolist())
    if not with_encoded:
        features.pop(TfExample.encoded, None)
    return example.SerializeToString()


class RecordWriter:
    """Writer of the TFRecord of one run.

    Attributes:
        complete_bytes: Size of the complete records of an interrupted run.
    """

    def __init__(self, directory: Path) -> None:
        """Open the record of an interrupted run in an existing directory, or start one."""
        self._path = directory / RECORD_FILE
        self._incomplete = directory / f"{RECORD_FILE}.incomplete"
        self._incomplete.touch()
        self.complete_bytes = record_files.scan_records(str(self._incomplete)).end
        self._file = self._incomplete.open("r+b")

    def resume_at(self, end: int) -> None:
        """Truncate the file to the end of a record; 0 starts again."""
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, serialized: bytes) -> int:
        """Append an example and return the end of its record in bytes."""
        self._file.write(record_files.encode_record(serialized))
        self._file.flush()
        return self._file.tell()

    def finish(self) -> None:
        """Close the complete file and give it its final name."""
        self._file.close()
        os.replace(self._incomplete, self._path)

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()
