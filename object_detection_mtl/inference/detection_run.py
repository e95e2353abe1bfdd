"""Runs a model over pictures, from files, records and videos, and writes what it finds.

    <output_dir>/detections.json, images.json     see results.py
    <output_dir>/detections.record                see record_output.py
    <output_dir>/pictures/...                     the pictures with the boxes drawn on them

A picture that cannot be read is named in one line and left out; the others go on. Until a run is
complete there is a journal beside its results: the same run started again goes on where it ended,
however that came about, and looks again only at what it has no result of.

What is in memory does not grow with the number of pictures, but for the list of the files and eight
bytes for each picture: pictures pass from reading (`ahead`, in threads) through detecting
(`batches`) to writing, each of which holds a bounded number of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from object_detection_mtl.inference import ahead, batching, stages
from object_detection_mtl.inference.detection_options import Options
from object_detection_mtl.inference.sources import image_stream, input_files
from object_detection_mtl.inference.sources.image_source import Source
from object_detection_mtl.inference.sources.image_stream import Numbered, Read, Trouble
from object_detection_mtl.inference.sources.input_files import PictureError, PictureFile
from object_detection_mtl.inference.stages import Predictor, Prepared, StagedPredictor
from object_detection_mtl.inference.writers import drawn_images, result_shards
from object_detection_mtl.inference.writers.detection_writer import Output

# Decoding is faster than detecting; more readers would only hold more pictures.
_MOST_READERS = 8


@dataclass
class Summary:
    """What a run did.

    Attributes:
        num_done: pictures that were looked at.
        num_resumed: of these, those that an interrupted run had done.
        failures: what could not be -> what is said of it. A file that ends too early is one, too.
        num_detections: that were written.
        seconds: for all of them.
    """

    num_done: int = 0
    num_resumed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    num_detections: int = 0
    seconds: float = 0.0

    @property
    def num_files(self) -> int:
        """All that were to be looked at."""
        return self.num_done + len(self.failures)


def detect_files(predictor: Predictor, files: Sequence[PictureFile], options: Options) -> Summary:
    """Detects on every picture; the JSON is written when the run is stopped half-way, too.

    Raises:
        ValueError: a drawn picture would overwrite one of the files; batches of a model that takes
            none; a video without a reader of videos.
        FileExistsError: shards of an earlier Beam run are in the output directory.
        OSError: the output directory cannot be written.
    """
    start = time.monotonic()
    detector = stages.staged(predictor)
    stages.require_batches(detector, options.batch_size)
    drawn = drawn_images.plan(files, options.pictures_dir) if options.save_images else []
    opened = image_stream.open_all(files, options.reading)
    result_shards.prepare(options, num_shards=1)
    with Output(opened, drawn, options) as output:
        num_resumed = output.journal.num_done
        failures: dict[str, str] = {}
        try:
            _detect_waiting(detector, files, opened, options, output, failures)
        finally:
            output.write_json()
        output.finish()
    return Summary(
        num_done=output.journal.num_done,
        num_resumed=num_resumed,
        failures=failures,
        num_detections=output.num_detections,
        seconds=time.monotonic() - start,
    )


def _detect_waiting(
    detector: StagedPredictor,
    files: Sequence[PictureFile],
    sources: Sequence[Source],
    options: Options,
    output: Output,
    failures: dict[str, str],
) -> None:
    """Detects on all that is not done, and notes what cannot be read."""
    done = output.journal
    total = sum(source.count for source in sources)
    bar = tqdm(total=total, initial=done.num_done, unit="picture", disable=None)

    def leave_out(label: str, message: str) -> None:
        failures[label] = message
        bar.write(f"{label}: {message}", file=sys.stderr)

    labels = [str(file.path) for file in files]
    stream = image_stream.stream(sources, labels, done.is_done)
    with (
        input_files.large_pictures_without_warning(),
        contextlib.closing(bar),
        contextlib.closing(_read(stream, detector, options)) as ready,
    ):
        for ticket, found in batching.detect(detector, ready, options.batch_size):
            if isinstance(ticket, Trouble):
                leave_out(ticket.label, ticket.reason)
                continue
            if ticket.content is None:
                leave_out(ticket.label, f"left out, {found}")
            elif isinstance(found, Exception):
                reason = input_files.with_size(found, ticket.content.picture)
                leave_out(ticket.label, f"left out, {reason}")
            else:
                output.write(ticket, found.best(options.max_detections))
            bar.update()


def _read(
    stream: Iterator[Numbered | Trouble], detector: StagedPredictor, options: Options
) -> Generator[tuple[Read | Trouble, Prepared | Exception, int], None, None]:
    """Reads and prepares ahead; see `batches.detect` for what comes out."""

    def load(item: Numbered | Trouble) -> tuple[Read | Trouble, Prepared | Exception, int]:
        if isinstance(item, Trouble):
            return item, PictureError(item.reason), 0
        try:
            content = item.entry.load()
            return (
                image_stream.read(item, content),
                detector.prepare(content.picture),
                content.picture.nbytes,
            )
        except (PictureError, OSError) as error:
            return image_stream.read(item, None), error, 0
        except MemoryError:
            return (
                image_stream.read(item, None),
                PictureError("there is not enough memory to prepare it"),
                0,
            )

    num_threads = options.num_readers or min(os.cpu_count() or 1, _MOST_READERS)
    with contextlib.closing(ahead.in_threads(stream, load, num_threads)) as loaded:
        for _, ready in loaded:
            yield ready
