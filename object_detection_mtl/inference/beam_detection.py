"""Detection run as an Apache Beam pipeline, for datasets too large for one machine.

    <output_dir>/detections-00000-of-00004.json, images-00000-of-00004.json
    <output_dir>/detections.record-00000-of-00004
    <output_dir>/drawn_images/...

Reading, detection and writing use the functions of a run on one machine (`detection_run`), so the
results are the same; images have the same numbers, in no particular order. Each pair of JSON files
is complete. There is no progress log: a pipeline that fails is started again as a whole.

Needs `pip install object_detection_mtl[beam]`, and paths that are the same on all machines.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import beam_runtime
from object_detection_mtl.data import image_files
from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.detection_run import DetectionSummary
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.predictor import Predictor
from object_detection_mtl.inference.sources import image_source, image_stream
from object_detection_mtl.inference.sources.image_source import ReadingOptions
from object_detection_mtl.inference.sources.image_stream import NumberedImage, SourceFailure
from object_detection_mtl.inference.sources.input_files import FileKind, InputFile
from object_detection_mtl.inference.writers import coco_results, drawn_images, result_shards
from object_detection_mtl.inference.writers.detection_records import add_detections
from object_detection_mtl.inference.writers.result_shards import FinishedImage


@dataclass(frozen=True)
class PlannedFile:
    """A file of the input.

    Attributes:
        position: Position in the input, from 0.
        file: The file.
        target: Path of its drawing or drawings; None to draw nothing.
    """

    position: int
    file: InputFile
    target: Path | None


@dataclass(frozen=True)
class PendingImage:
    """An image during detection, without its pixels.

    Attributes:
        number: Number in the whole input, from 1.
        label: Name of the image in messages.
        target: Path of its drawing; None to draw nothing.
        description: See `DecodedImage`.
        example: See `DecodedImage`.
    """

    number: int
    label: str
    target: Path | None
    description: Mapping[str, Any]
    example: tf.train.Example | None


@dataclass(frozen=True)
class DetectionFailure:
    """A skipped image or file, and the reason."""

    label: str
    message: str


def detect_with_beam(
    load: Callable[[], Predictor],
    find: Callable[[], Sequence[InputFile]],
    options: DetectionOptions,
    *,
    num_shards: int = 1,
    runner: str = "DirectRunner",
    runner_options: Sequence[str] = (),
) -> DetectionSummary:
    """Detect on all images of some files by a Beam pipeline, and wait for it.

    Args:
        load: Load the predictor. Workers call `load` and `find`: both must be functions of a
            module, or a functools.partial of one.
        find: Find the files.
        options: What is written, and how the run works.
        num_shards: Number of detection files.
        runner: Name of a Beam runner.
        runner_options: "name=value" each.

    Raises:
        ValueError: Beam is not installed, the runner is unknown, or the pipeline failed.
        OSError: The output directory cannot be written, or has another number of shards.
    """
    start = time.monotonic()
    pipeline = beam_runtime.make_pipeline(runner, runner_options)
    result_shards.prepare_directory(options, num_shards)
    loaded = _read_images(pipeline, find, options)
    outcomes = _detect_images(loaded, load, options)
    _write_shards(pipeline, outcomes, options, num_shards)
    summary_path = options.output_dir / ".summary.json"
    _write_summary(loaded, outcomes, summary_path)
    try:
        beam_runtime.run_pipeline(pipeline, runner)
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
    finally:
        summary_path.unlink(missing_ok=True)
    summary["failures"] = dict(sorted(summary["failures"].items()))
    return DetectionSummary(**summary, seconds=time.monotonic() - start)


def _read_images(
    pipeline: Any, find: Callable[[], Sequence[InputFile]], options: DetectionOptions
) -> Any:
    """Return a collection of (PendingImage, image) and DetectionFailures."""
    import apache_beam as beam

    directory = options.drawings_dir if options.save_images else None
    files = (
        pipeline
        | "one element" >> beam.Create([find])
        | "find files" >> beam.FlatMap(functools.partial(_plan_files, directory))
        | "spread files" >> beam.Reshuffle()
    )
    # The numbers of images depend on how many the files before have.
    counts = files | "count" >> beam.FlatMap(functools.partial(_count_images, options.reading))
    return (
        files
        | "read" >> beam.FlatMap(_list_images, options.reading, beam.pvalue.AsDict(counts))
        | "spread images" >> beam.Reshuffle()
        | "decode" >> beam.Map(_load_image)
    )


def _detect_images(loaded: Any, load: Callable[[], Predictor], options: DetectionOptions) -> Any:
    """Return a collection of FinishedImages and DetectionFailures."""
    import apache_beam as beam
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

    from object_detection_mtl.inference.beam_model_handler import DetectorHandler

    handler = KeyedModelHandler(DetectorHandler(load, options.batch_size))
    return (
        loaded
        | "images" >> beam.Filter(_is_success)
        | "detect" >> RunInference(handler)
        | "draw" >> beam.Map(functools.partial(_finish_image, options))
    )


def _write_shards(pipeline: Any, outcomes: Any, options: DetectionOptions, num_shards: int) -> None:
    import apache_beam as beam

    # A shard exists even if it has no image.
    empty = pipeline | "all shards" >> beam.Create([(shard, None) for shard in range(num_shards)])
    by_shard = (
        outcomes
        | "finished" >> beam.Filter(_is_success)
        | "choose shard" >> beam.Map(functools.partial(_with_shard, num_shards))
    )
    _ = (
        (empty, by_shard)
        | "with empty ones" >> beam.Flatten()
        | "by shard" >> beam.GroupByKey()
        | "write" >> beam.Map(functools.partial(_write_shard, options, num_shards))
    )


def _write_summary(loaded: Any, outcomes: Any, path: Path) -> None:
    import apache_beam as beam

    failures = loaded | "reading failures" >> beam.Filter(_is_failure)
    _ = (
        (failures, outcomes)
        | "all outcomes" >> beam.Flatten()
        | "summaries" >> beam.Map(_summarize)
        | "sum of summaries" >> beam.CombineGlobally(_add_summaries)
        | "as text" >> beam.Map(json.dumps)
        | "write summary" >> beam.io.WriteToText(str(path), shard_name_template="")
    )


# Steps of the pipeline: functions of this module, so that workers can import them. ---------------


def _plan_files(
    directory: Path | None, find: Callable[[], Sequence[InputFile]]
) -> Iterator[PlannedFile]:
    files = find()
    if directory is None:
        targets: list[Path | None] = [None] * len(files)
    else:
        targets = [*drawn_images.plan_drawings(files, directory)]
    for position, (file, target) in enumerate(zip(files, targets, strict=True)):
        yield PlannedFile(position, file, target)


def _count_images(options: ReadingOptions, planned: PlannedFile) -> Iterator[tuple[int, int]]:
    """Yield the position of a file and its number of images, unless it is an image file."""
    if planned.file.kind != FileKind.IMAGE:
        [source] = image_stream.open_sources([planned.file], options)
        yield planned.position, image_stream.count_images(source)


def _list_images(
    planned: PlannedFile, options: ReadingOptions, counts: Mapping[int, int]
) -> Iterator[tuple[PlannedFile, NumberedImage] | DetectionFailure]:
    before = planned.position + sum(
        count - 1 for position, count in counts.items() if position < planned.position
    )
    sources = image_stream.open_sources([planned.file], options)
    labels = [str(planned.file.path)]
    for item in image_stream.stream_images(sources, labels, lambda number: False):
        if isinstance(item, SourceFailure):
            yield DetectionFailure(item.label, item.reason)
        else:
            yield planned, NumberedImage(before + item.number, item.entry, planned.position)


def _load_image(
    listed: tuple[PlannedFile, NumberedImage] | DetectionFailure,
) -> tuple[PendingImage, np.ndarray] | DetectionFailure:
    if isinstance(listed, DetectionFailure):
        return listed
    planned, numbered = listed
    label = numbered.entry.label
    try:
        with image_files.ignore_size_warnings():
            content = numbered.entry.load()
    except (ImageError, OSError) as error:
        return DetectionFailure(label, f"skipped, {error}")
    target = None if planned.target is None else planned.target / numbered.entry.drawing_name
    pending = PendingImage(numbered.number, label, target, content.description, content.example)
    return pending, content.pixels


def _is_failure(element: Any) -> bool:
    return isinstance(element, DetectionFailure)


def _is_success(element: Any) -> bool:
    return not isinstance(element, DetectionFailure)


def _finish_image(
    options: DetectionOptions, element: tuple[PendingImage, Any]
) -> FinishedImage | DetectionFailure:
    pending, prediction = element
    image, detections = prediction.example, prediction.inference
    if not isinstance(detections, ImageDetections):
        reason = image_source.with_image_size(detections, image)
        return DetectionFailure(pending.label, f"skipped, {reason}")
    detections = detections.best(options.max_detections)
    if pending.target is not None:
        drawn_images.save_drawing(image, detections, pending.target, options)
    height, width = image.shape[:2]
    entry = coco_results.image_result(
        pending.number, pending.description, height, width, detections
    )
    serialized = None
    if pending.example is not None:
        keep = not options.discard_image_pixels
        serialized = add_detections(pending.example, detections, with_encoded=keep)
    return FinishedImage(entry, serialized)


def _with_shard(num_shards: int, finished: FinishedImage) -> tuple[int, FinishedImage]:
    return finished.entry["image"]["id"] % num_shards, finished


def _write_shard(
    options: DetectionOptions,
    num_shards: int,
    element: tuple[int, Iterable[FinishedImage | None]],
) -> None:
    shard, finished = element
    result_shards.write_shard(finished, options, result_shards.shard_suffix(shard, num_shards))


def _summarize(outcome: FinishedImage | DetectionFailure) -> dict[str, Any]:
    if isinstance(outcome, DetectionFailure):
        return {"num_done": 0, "num_detections": 0, "failures": {outcome.label: outcome.message}}
    number = len(outcome.entry["detections"])
    return {"num_done": 1, "num_detections": number, "failures": {}}


def _add_summaries(summaries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"num_done": 0, "num_detections": 0, "failures": {}}
    for summary in summaries:
        total["num_done"] += summary["num_done"]
        total["num_detections"] += summary["num_detections"]
        total["failures"].update(summary["failures"])
    return total
