"""Detecting as an Apache Beam pipeline, for data sets that outgrow one machine.

    <output_dir>/detections-00000-of-00004.json, images-00000-of-00004.json
    <output_dir>/detections.record-00000-of-00004
    <output_dir>/pictures/...

It reads, detects and writes by the functions of a run on one machine (`run`), so that the results
are the same; pictures have the same numbers, but come in no particular order. Each pair of JSON
files is complete by itself. There is no journal: a pipeline that fails is started again as a whole.

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
from object_detection_mtl.inference.detection_options import Options
from object_detection_mtl.inference.detection_run import Summary
from object_detection_mtl.inference.sources import examples, image_stream, input_files
from object_detection_mtl.inference.sources.image_source import Reading
from object_detection_mtl.inference.sources.image_stream import Numbered, Trouble
from object_detection_mtl.inference.sources.input_files import Kind, PictureError, PictureFile
from object_detection_mtl.inference.stages import Found, Predictor
from object_detection_mtl.inference.writers import (
    coco_results,
    detection_writer,
    drawn_images,
    result_shards,
)
from object_detection_mtl.inference.writers.result_shards import Done


@dataclass(frozen=True)
class PlannedFile:
    """A file of the input, its place in it (from 0), and where its pictures are drawn."""

    place: int
    file: PictureFile
    target: Path | None


@dataclass(frozen=True)
class Job:
    """What stays of a picture while it is detected on."""

    number: int
    label: str
    target: Path | None
    image: Mapping[str, Any]
    example: tf.train.Example | None


@dataclass(frozen=True)
class Failure:
    """What could not be looked at, and why."""

    label: str
    message: str


def detect(
    load: Callable[[], Predictor],
    find: Callable[[], Sequence[PictureFile]],
    options: Options,
    *,
    num_shards: int = 1,
    runner: str = "DirectRunner",
    runner_options: Sequence[str] = (),
) -> Summary:
    """Detects on all pictures of the files by a Beam pipeline, and waits for it.

    Args:
        load: makes the predictor. Workers call this and `find`: both have to be functions of a
            module, or a functools.partial of one.
        find: the files.
        options: what to write.
        num_shards: number of files of detections.
        runner: name of a Beam runner.
        runner_options: "name=value" each.

    Raises:
        ValueError: Beam is not installed, there is no such runner, or the pipeline failed.
        OSError: the output directory cannot be written, or holds shards of another number.
    """
    start = time.monotonic()
    pipeline = beam_runtime.make_pipeline(runner, runner_options)
    result_shards.prepare(options, num_shards)
    loaded = _read(pipeline, find, options)
    outcomes = _detect(loaded, load, options)
    _write(pipeline, outcomes, options, num_shards)
    report_path = options.output_dir / ".report.json"
    _write_report(loaded, outcomes, report_path)
    try:
        beam_runtime.run(pipeline, runner)
        report = json.loads(report_path.read_text(encoding="utf-8"))
    finally:
        report_path.unlink(missing_ok=True)
    report["failures"] = dict(sorted(report["failures"].items()))
    return Summary(**report, seconds=time.monotonic() - start)


def _read(pipeline: Any, find: Callable[[], Sequence[PictureFile]], options: Options) -> Any:
    """A collection of (Job, picture) and Failures."""
    import apache_beam as beam

    directory = options.pictures_dir if options.save_images else None
    files = (
        pipeline
        | "one element" >> beam.Create([find])
        | "find files" >> beam.FlatMap(functools.partial(_plan, directory))
        | "spread files" >> beam.Reshuffle()
    )
    # Numbers of pictures hang on how many there are in the files before.
    counts = files | "count" >> beam.FlatMap(functools.partial(_count, options.reading))
    return (
        files
        | "read" >> beam.FlatMap(_entries, options.reading, beam.pvalue.AsDict(counts))
        | "spread pictures" >> beam.Reshuffle()
        | "decode" >> beam.Map(_load)
    )


def _detect(loaded: Any, load: Callable[[], Predictor], options: Options) -> Any:
    """A collection of Done and Failures."""
    import apache_beam as beam
    from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

    from object_detection_mtl.inference.beam_model_handler import DetectorHandler

    handler = KeyedModelHandler(DetectorHandler(load, options.batch_size))
    return (
        loaded
        | "pictures" >> beam.Filter(_is_no_failure)
        | "detect" >> RunInference(handler)
        | "draw" >> beam.Map(functools.partial(_finish, options))
    )


def _write(pipeline: Any, outcomes: Any, options: Options, num_shards: int) -> None:
    import apache_beam as beam

    # A shard exists even if no picture falls to it.
    empty = pipeline | "all shards" >> beam.Create([(shard, None) for shard in range(num_shards)])
    by_shard = (
        outcomes
        | "done" >> beam.Filter(_is_no_failure)
        | "choose shard" >> beam.Map(functools.partial(_with_shard, num_shards))
    )
    _ = (
        (empty, by_shard)
        | "with empty ones" >> beam.Flatten()
        | "by shard" >> beam.GroupByKey()
        | "write" >> beam.Map(functools.partial(_write_shard, options, num_shards))
    )


def _write_report(loaded: Any, outcomes: Any, path: Path) -> None:
    import apache_beam as beam

    failures = loaded | "failures of reading" >> beam.Filter(_is_failure)
    _ = (
        (failures, outcomes)
        | "all outcomes" >> beam.Flatten()
        | "reports" >> beam.Map(_report)
        | "sum of reports" >> beam.CombineGlobally(_sum)
        | "as text" >> beam.Map(json.dumps)
        | "write report" >> beam.io.WriteToText(str(path), shard_name_template="")
    )


# Parts of the pipeline. Functions of this module, so that workers find them. --------------------


def _plan(
    directory: Path | None, find: Callable[[], Sequence[PictureFile]]
) -> Iterator[PlannedFile]:
    files = find()
    drawn = drawn_images.plan(files, directory) if directory is not None else [None] * len(files)
    for place, (file, target) in enumerate(zip(files, drawn, strict=True)):
        yield PlannedFile(place, file, target)


def _count(reading: Reading, planned: PlannedFile) -> Iterator[tuple[int, int]]:
    """How many pictures there are in a file, unless it is a picture itself."""
    if planned.file.kind != Kind.PICTURE:
        [source] = image_stream.open_all([planned.file], reading)
        yield planned.place, image_stream.count(source)


def _entries(
    planned: PlannedFile, reading: Reading, counts: Mapping[int, int]
) -> Iterator[tuple[PlannedFile, Numbered] | Failure]:
    before = planned.place + sum(
        count - 1 for place, count in counts.items() if place < planned.place
    )
    sources = image_stream.open_all([planned.file], reading)
    for item in image_stream.stream(sources, [str(planned.file.path)], lambda number: False):
        if isinstance(item, Trouble):
            yield Failure(item.label, item.reason)
        else:
            yield planned, Numbered(before + item.number, item.entry, planned.place)


def _load(listed: tuple[PlannedFile, Numbered] | Failure) -> tuple[Job, np.ndarray] | Failure:
    if isinstance(listed, Failure):
        return listed
    planned, numbered = listed
    label = numbered.entry.label
    try:
        with input_files.large_pictures_without_warning():
            content = numbered.entry.load()
    except (PictureError, OSError) as error:
        return Failure(label, f"left out, {error}")
    target = None if planned.target is None else planned.target / numbered.entry.place
    job = Job(numbered.number, label, target, content.image, content.example)
    return job, content.picture


def _is_failure(element: Any) -> bool:
    return isinstance(element, Failure)


def _is_no_failure(element: Any) -> bool:
    return not isinstance(element, Failure)


def _finish(options: Options, element: tuple[Job, Any]) -> Done | Failure:
    job, prediction = element
    picture, found = prediction.example, prediction.inference
    if not isinstance(found, Found):
        return Failure(job.label, f"left out, {input_files.with_size(found, picture)}")
    found = found.best(options.max_detections)
    if job.target is not None:
        detection_writer.draw(picture, found, job.target, options)
    height, width = picture.shape[:2]
    entry = coco_results.entry(job.number, job.image, height, width, found)
    serialized = None
    if job.example is not None:
        keep = not options.discard_image_pixels
        serialized = examples.with_detections(job.example, found, with_encoded=keep)
    return Done(entry, serialized)


def _with_shard(num_shards: int, done: Done) -> tuple[int, Done]:
    return done.entry["image"]["id"] % num_shards, done


def _write_shard(
    options: Options, num_shards: int, element: tuple[int, Iterable[Done | None]]
) -> None:
    shard, done = element
    result_shards.write(done, options, result_shards.suffix(shard, num_shards))


def _report(outcome: Done | Failure) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {"num_done": 0, "num_detections": 0, "failures": {outcome.label: outcome.message}}
    number = len(outcome.entry["detections"])
    return {"num_done": 1, "num_detections": number, "failures": {}}


def _sum(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"num_done": 0, "num_detections": 0, "failures": {}}
    for report in reports:
        total["num_done"] += report["num_done"]
        total["num_detections"] += report["num_detections"]
        total["failures"].update(report["failures"])
    return total
