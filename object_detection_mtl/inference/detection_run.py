"""Detection run over image files, TFRecords and videos, with resumable output.

    <output_dir>/detections.json, images.json     see coco_results.py
    <output_dir>/detections.record                see detection_records.py
    <output_dir>/drawn_images/...                 the images with drawn boxes

Unreadable images are skipped and reported, one line each. Until the run is complete, a progress log
is kept beside the results: the same run started again resumes where it ended and detects only on
the images without a result.

Images are read and drawn in threads while the model runs in one of its own; results are written in
the order of the images. Memory does not grow with the number of images, except for the list of
files and eight bytes an image: reading, batching and drawing each keep a bounded number of images.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from tqdm import tqdm

from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference import batching
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.predictor import (
    Predictor,
    PreparedImage,
    StagedPredictor,
    as_staged_predictor,
    check_batch_size,
)
from object_detection_mtl.inference.sources import image_source, image_stream
from object_detection_mtl.inference.sources.image_source import ImageSource
from object_detection_mtl.inference.sources.image_stream import (
    NumberedImage,
    ReadImage,
    SourceFailure,
)
from object_detection_mtl.inference.sources.input_files import InputFile
from object_detection_mtl.inference.writers import drawn_images, result_shards
from object_detection_mtl.inference.writers.detection_writer import DetectionWriter

# Decoding and drawing are faster than detection; more threads would only hold more images.
_MAX_READERS = 8
_MAX_DRAWERS = 4

# An image after reading, prepared for the model or its error, and its size in bytes.
_LoadedImage = tuple[ReadImage | SourceFailure, PreparedImage | Exception, int]
_Result = tuple[ReadImage | SourceFailure, ImageDetections | Exception]


@dataclass
class DetectionSummary:
    """Summary of a detection run.

    Attributes:
        num_done: Number of images with results.
        num_resumed: Number of these that an interrupted run had done.
        failures: Label of a skipped image, or of a file that ends early -> message.
        num_detections: Number of detections that were written.
        seconds: Wall-clock time of the run.
    """

    num_done: int = 0
    num_resumed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    num_detections: int = 0
    seconds: float = 0.0

    @property
    def num_files(self) -> int:
        """Return the number of images and failures."""
        return self.num_done + len(self.failures)


def detect_files(
    predictor: Predictor, files: Sequence[InputFile], options: DetectionOptions
) -> DetectionSummary:
    """Detect on every image of some files; an interrupted run writes its JSON, too.

    Args:
        predictor: Detects on the images.
        files: The input, from `input_files.find_input_files`.
        options: What is written, and how the run works.

    Raises:
        ValueError: A drawing would overwrite an input file, the model does not take batches, or a
            video is given and OpenCV is not installed.
        FileExistsError: The output directory has shards of an earlier Beam run.
        OSError: The output directory cannot be written.
    """
    start = time.monotonic()
    detector = as_staged_predictor(predictor)
    check_batch_size(detector, options.batch_size)
    drawings = (
        drawn_images.plan_drawings(files, options.drawings_dir) if options.save_images else []
    )
    sources = image_stream.open_sources(files, options.reading)
    result_shards.prepare_directory(options, num_shards=1)
    with DetectionWriter(sources, drawings, options) as writer:
        num_resumed = writer.progress.num_done
        failures: dict[str, str] = {}
        try:
            _detect_remaining(detector, files, sources, options, writer, failures)
        finally:
            writer.write_json()
        writer.finish()
    return DetectionSummary(
        num_done=writer.progress.num_done,
        num_resumed=num_resumed,
        failures=failures,
        num_detections=writer.num_detections,
        seconds=time.monotonic() - start,
    )


def _detect_remaining(
    detector: StagedPredictor,
    files: Sequence[InputFile],
    sources: Sequence[ImageSource],
    options: DetectionOptions,
    writer: DetectionWriter,
    failures: dict[str, str],
) -> None:
    """Detect on all images that are not done; add unreadable ones to `failures`."""
    progress = writer.progress
    total = sum(source.count for source in sources)
    bar = tqdm(total=total, initial=progress.num_done, unit="image", disable=None)

    def report(label: str, message: str) -> None:
        failures[label] = message
        bar.write(f"{label}: {message}", file=sys.stderr)

    labels = [str(file.path) for file in files]
    stream = image_stream.stream_images(sources, labels, progress.is_done)

    def draw(result: _Result) -> None:
        ticket, detections = result
        if isinstance(detections, ImageDetections):
            writer.draw(cast(ReadImage, ticket), detections)

    num_drawers = min(os.cpu_count() or 1, _MAX_DRAWERS)
    with (
        image_files.ignore_size_warnings(),
        contextlib.closing(bar),
        contextlib.closing(_load_ahead(stream, detector, options)) as loaded,
        contextlib.closing(_detect(detector, loaded, options)) as results,
        contextlib.closing(batching.map_in_threads(results, draw, num_drawers)) as drawn,
    ):
        for (ticket, detections), _ in drawn:
            if isinstance(ticket, SourceFailure):
                report(ticket.label, ticket.reason)
                continue
            if ticket.content is None:
                report(ticket.label, f"skipped, {detections}")
            elif isinstance(detections, Exception):
                reason = image_source.with_image_size(detections, ticket.content.pixels)
                report(ticket.label, f"skipped, {reason}")
            else:
                writer.write(ticket, detections)
            bar.update()


def _detect(
    detector: StagedPredictor, loaded: Iterator[_LoadedImage], options: DetectionOptions
) -> Generator[_Result, None, None]:
    """Yield the best detections of each image, or the error of an unreadable one."""
    for ticket, detections in batching.detect_in_batches(detector, loaded, options.batch_size):
        if isinstance(detections, ImageDetections):
            detections = detections.best(options.max_detections)
        yield ticket, detections


def _load_ahead(
    stream: Iterator[NumberedImage | SourceFailure],
    detector: StagedPredictor,
    options: DetectionOptions,
) -> Generator[_LoadedImage, None, None]:
    """Yield the images, read and prepared in threads, for `batching.detect_in_batches`."""

    def load(item: NumberedImage | SourceFailure) -> _LoadedImage:
        if isinstance(item, SourceFailure):
            return item, ImageError(item.reason), 0
        try:
            content = item.entry.load()
            prepared = detector.prepare(content.pixels)
        except (ImageError, OSError) as error:
            return item.with_content(None), error, 0
        except MemoryError:
            return item.with_content(None), ImageError("not enough memory to prepare it"), 0
        return item.with_content(content), prepared, content.pixels.nbytes

    num_threads = options.num_readers or min(os.cpu_count() or 1, _MAX_READERS)
    with contextlib.closing(batching.map_in_threads(stream, load, num_threads)) as images:
        for _, loaded in images:
            yield loaded
