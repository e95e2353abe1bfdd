"""Everything that a run over pictures writes, in step: drawings, record, journal, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl import visualization
from object_detection_mtl.inference.detection_options import Options
from object_detection_mtl.inference.sources import examples
from object_detection_mtl.inference.sources.image_source import Source
from object_detection_mtl.inference.sources.image_stream import Read
from object_detection_mtl.inference.stages import Found
from object_detection_mtl.inference.writers import coco_results, progress_log
from object_detection_mtl.inference.writers.detection_records import RecordOutput
from object_detection_mtl.inference.writers.progress_log import Journal

# Longer sides do not fit into a JPEG file.
_LONGEST_SIDE_OF_JPEG = 65500
# Of a journal's entries: where the picture's record ends, and how many detections it has.
_RECORD_END = "record_end"
_NUMBER = "num_detections"


class Output:
    """The output of one run, which may go on where another ended; `with` closes it.

    Attributes:
        journal: tells which pictures are done.
        num_detections: of these.
    """

    def __init__(
        self, sources: Sequence[Source], targets: Sequence[Path], options: Options
    ) -> None:
        """Args:
        sources: the whole input.
        targets: of `targets.plan`; nothing is drawn where there are none.
        options: whose directory exists.

        Raises:
            ValueError: another process writes there.
        """
        self._targets = targets
        self._options = options
        self._record = RecordOutput(options.output_dir) if options.writes_record else None
        self.num_detections = 0
        try:
            self.journal = Journal(options.output_dir, _identity(sources, options), self._is_kept)
        except BaseException:
            if self._record is not None:
                self._record.close()
            raise
        if self._record is not None:
            last = self.journal.last
            self._record.go_on_at(0 if last is None else last[_RECORD_END])

    def _is_kept(self, entry: Mapping[str, Any]) -> bool:
        if self._record is not None and entry[_RECORD_END] > self._record.whole:
            return False
        self.num_detections += entry[_NUMBER]
        return True

    def write(self, picture: Read, found: Found) -> None:
        """Writes what was found on a picture, which was read; it is done when this returns."""
        content = picture.content
        assert content is not None
        height, width = content.picture.shape[:2]
        entry = coco_results.entry(picture.number, content.image, height, width, found)
        entry[_NUMBER] = len(entry["detections"])
        if not self._options.writes_json:
            del entry["detections"]
        if self._targets:
            target = self._targets[picture.file_number] / picture.place
            draw(content.picture, found, target, self._options)
        if self._record is not None:
            assert content.example is not None
            keep = not self._options.discard_image_pixels
            serialized = examples.with_detections(content.example, found, with_encoded=keep)
            entry[_RECORD_END] = self._record.add(serialized)
        self.journal.add(entry)
        self.num_detections += entry[_NUMBER]

    def write_json(self) -> None:
        """Writes the JSON of all that is done, also by earlier runs, where it is wanted."""
        if self._options.writes_json:
            entries = self.journal.entries()
            coco_results.write(entries, self._options.names, self._options.output_dir)

    def finish(self) -> None:
        """The run is complete."""
        if self._record is not None:
            self._record.finish()
        self.journal.remove()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        if self._record is not None:
            self._record.close()


def _identity(sources: Sequence[Source], options: Options) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return progress_log.identity(
        options.model,
        [source.version for source in sources],
        max_detections=options.max_detections,
        apply_exif_orientation=options.apply_exif_orientation,
        drawn_from=options.min_score if options.save_images else None,
        output_format=options.output_format,
        discard_image_pixels=options.discard_image_pixels,
    )


def draw(picture: np.ndarray, found: Found, target: Path, options: Options) -> None:
    """Draws the boxes on a picture [H, W, 3] and saves it."""
    drawn = visualization.draw_boxes(
        picture,
        found.boxes,
        found.classes,
        found.scores,
        names=options.names,
        min_score=options.min_score,
    )
    if max(drawn.shape) > _LONGEST_SIDE_OF_JPEG:
        target = target.with_suffix(".png")
    visualization.save_image(drawn, target)
