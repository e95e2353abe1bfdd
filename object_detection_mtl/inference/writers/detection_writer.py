"""Output of a detection run: drawings, TFRecord, progress log, JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.sources.image_source import ImageSource
from object_detection_mtl.inference.sources.image_stream import ReadImage
from object_detection_mtl.inference.writers import coco_results, progress_log, source_image_ids
from object_detection_mtl.inference.writers.detection_records import RecordWriter, add_detections
from object_detection_mtl.inference.writers.drawn_images import save_drawing
from object_detection_mtl.inference.writers.progress_log import ProgressLog

# Keys of the progress log: end of the image's record in bytes, number of its detections.
_RECORD_END = "record_end"
_NUM_DETECTIONS = "num_detections"


class DetectionWriter:
    """Writer of all output of one run, which may resume an interrupted one; a context manager.

    Attributes:
        progress: Log of the images that are done.
        num_detections: Number of their detections.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        drawings: Sequence[Path],
        options: DetectionOptions,
    ) -> None:
        """Open the output, or that of the interrupted run.

        Args:
            sources: The whole input.
            drawings: From `drawn_images.plan_drawings`; empty to draw nothing.
            options: Options whose output directory exists.

        Raises:
            ValueError: Another process writes there.
        """
        self._drawings = drawings
        self._options = options
        self._records = RecordWriter(options.output_dir) if options.writes_record else None
        self.num_detections = 0
        try:
            self.progress = ProgressLog(
                options.output_dir, _run_identity(sources, options), self._is_kept
            )
        except BaseException:
            if self._records is not None:
                self._records.close()
            raise
        if self._records is not None:
            last = self.progress.last
            self._records.resume_at(0 if last is None else last[_RECORD_END])

    def _is_kept(self, entry: Mapping[str, Any]) -> bool:
        if self._records is not None and entry[_RECORD_END] > self._records.complete_bytes:
            return False
        self.num_detections += entry[_NUM_DETECTIONS]
        return True

    def draw(self, image: ReadImage, detections: ImageDetections) -> None:
        """Save the drawing of an image, if any; before `write`. Several threads may call it."""
        if self._drawings:
            assert image.content is not None
            target = self._drawings[image.file_number] / image.drawing_name
            save_drawing(image.content.pixels, detections, target, self._options)

    def write(self, image: ReadImage, detections: ImageDetections) -> None:
        """Write the detections of an image, which is then complete."""
        content = image.content
        assert content is not None
        height, width = content.pixels.shape[:2]
        entry = coco_results.image_result(
            image.number, content.description, height, width, detections
        )
        entry[_NUM_DETECTIONS] = len(entry["detections"])
        if not self._options.writes_json:
            del entry["detections"]
        if self._records is not None:
            assert content.example is not None
            keep = not self._options.discard_image_pixels
            serialized = add_detections(content.example, detections, with_encoded=keep)
            entry[_RECORD_END] = self._records.add(serialized)
        self.progress.add(entry)
        self.num_detections += entry[_NUM_DETECTIONS]

    def write_json(self) -> None:
        """Write the JSON files of all images that are done, those of earlier runs included."""
        if self._options.writes_json:
            entries: Iterable[Mapping[str, Any]] = self.progress.entries()
            if self._options.image_ids is not None:
                entries = source_image_ids.with_source_ids(entries, self._options.image_ids)
            coco_results.write_results(entries, self._options.class_names, self._options.output_dir)

    def finish(self) -> None:
        """Complete the run: name the TFRecord, remove the progress log."""
        if self._records is not None:
            self._records.finish()
        self.progress.remove()

    def __enter__(self) -> DetectionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.close()
        if self._records is not None:
            self._records.close()


def _run_identity(sources: Sequence[ImageSource], options: DetectionOptions) -> dict[str, Any]:
    return progress_log.run_identity(
        options.model_version,
        [source.version for source in sources],
        max_detections=options.max_detections,
        apply_exif_orientation=options.apply_exif_orientation,
        drawn_from=options.min_score if options.save_images else None,
        output_format=options.output_format,
        discard_image_pixels=options.discard_image_pixels,
    )
