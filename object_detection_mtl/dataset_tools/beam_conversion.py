"""The conversion as an Apache Beam pipeline, for data sets that outgrow one machine.

It calls the same `conversion.convert` for each picture. Other than from one machine, the records
come in no particular order, and paths have to be those of a file system that all machines see.

Needs `pip install object_detection_mtl[beam]`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from object_detection_mtl import beam_runtime
from object_detection_mtl.dataset_tools import record_conversion
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedPicture
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import Summary
from object_detection_mtl.dataset_tools.shard_writer import prepare_output


def create_records(
    load: Callable[[], Sequence[AnnotatedPicture]],
    output_path: str | Path,
    *,
    options: ConversionOptions | None = None,
    num_shards: int = 1,
    runner: str = "DirectRunner",
    runner_options: Sequence[str] = (),
) -> Summary:
    """Writes records by a Beam pipeline and waits for it.

    Args:
      load: returns the data set. It is called by a worker: the pictures of a large data set would
        be too much for the description of a pipeline. It is sent there, so it has to be a function
        of a module, or a functools.partial of one.
      output_path: name of the record; with several shards -00000-of-000NN is appended.
      options: how to convert.
      num_shards: number of files.
      runner: name of a Beam runner.
      runner_options: "name=value" each.

    Raises:
      ValueError: Beam is not installed, there is no such runner, or the pipeline failed.
      DataError: no picture could be used; nothing is written then.
    """
    beam = beam_runtime.import_beam()
    paths = prepare_output(output_path, num_shards)
    report_path = Path(output_path).with_name(f".report-{Path(output_path).name}.json")
    pipeline = beam_runtime.make_pipeline(runner, runner_options)
    converted = (
        pipeline
        | "one element" >> beam.Create([load])
        | "read annotations" >> beam.FlatMap(_call)
        | "spread over workers" >> beam.Reshuffle()
        | "convert" >> beam.Map(functools.partial(_convert, options or ConversionOptions()))
    )
    _write_records(beam, converted, output_path, num_shards)
    _write_report(beam, converted, report_path)
    try:
        beam_runtime.run(pipeline, runner)
        report = _from_json(report_path.read_text(encoding="utf-8"))
    finally:
        report_path.unlink(missing_ok=True)
    if not report.pictures:
        for path in paths:
            path.unlink(missing_ok=True)
    record_conversion.refuse_nothing(report)
    return report


def _write_records(beam: Any, converted: Any, output_path: str | Path, num_shards: int) -> None:
    _ = (
        converted
        | "records" >> beam.FlatMap(_record)
        | "write records"
        >> beam.io.WriteToTFRecord(
            str(output_path),
            num_shards=num_shards,
            shard_name_template="" if num_shards == 1 else "-SSSSS-of-NNNNN",
        )
    )


def _write_report(beam: Any, converted: Any, path: Path) -> None:
    _ = (
        converted
        | "reports" >> beam.Map(_report)
        | "sum of reports" >> beam.CombineGlobally(_sum)
        | "as text" >> beam.Map(_as_json)
        | "write report" >> beam.io.WriteToText(str(path), shard_name_template="")
    )


# Parts of the pipeline. Functions of this module, so that workers find them. -------------------


def _call(load: Callable[[], Sequence[AnnotatedPicture]]) -> Iterable[AnnotatedPicture]:
    return load()


def _convert(options: ConversionOptions, picture: AnnotatedPicture) -> record_conversion.Converted:
    return record_conversion.convert(picture, options)


def _record(converted: record_conversion.Converted) -> list[bytes]:
    return [] if converted.serialized is None else [converted.serialized]


def _report(converted: record_conversion.Converted) -> Summary:
    return converted.report


def _sum(reports: Iterable[Summary]) -> Summary:
    total = Summary()
    for report in reports:
        total.add(report)
    return total


def _as_json(report: Summary) -> str:
    return json.dumps(dataclasses.asdict(report))


def _from_json(text: str) -> Summary:
    """Pictures come in any order; a report names them in alphabetical order."""
    report = Summary(**json.loads(text))
    report.troubles = {key: sorted(names) for key, names in sorted(report.troubles.items())}
    return report
