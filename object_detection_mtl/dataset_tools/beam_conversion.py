"""Conversion as an Apache Beam pipeline, for datasets too large for one machine.

It calls `record_conversion.convert_image` for each image. Unlike on one machine, the records have
no defined order, and all machines must see the files under the same paths.

Needs `pip install object_detection_mtl[beam]`.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from object_detection_mtl import beam_runtime
from object_detection_mtl.dataset_tools import record_conversion
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import ConversionReport
from object_detection_mtl.dataset_tools.shard_writer import prepare_output


def create_records(
    load: Callable[[], Sequence[AnnotatedImage]],
    output_path: str | Path,
    *,
    options: ConversionOptions | None = None,
    num_shards: int = 1,
    runner: str = "DirectRunner",
    runner_options: Sequence[str] = (),
) -> ConversionReport:
    """Convert a dataset with a Beam pipeline and wait until it has finished.

    Args:
        load: returns the dataset. It is called by a worker, because the images of a large dataset
            are too many for the description of a pipeline. It is sent to the worker, so it must be
            a function of a module, or a functools.partial of one.
        output_path: name of the record; with several shards -00000-of-000NN is appended.
        options: options of the conversion.
        num_shards: number of files.
        runner: name of a Beam runner.
        runner_options: "name=value" each.

    Returns:
        The report of the conversion.

    Raises:
        ValueError: Beam is not installed, the runner does not exist, or the pipeline failed.
        DataError: no image could be used; nothing is written then.
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
        beam_runtime.run_pipeline(pipeline, runner)
        report = _from_json(report_path.read_text(encoding="utf-8"))
    finally:
        report_path.unlink(missing_ok=True)
    if not report.images:
        for path in paths:
            path.unlink(missing_ok=True)
    record_conversion.raise_if_empty(report)
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
        | "sum of reports" >> beam.CombineGlobally(_sum_reports)
        | "as text" >> beam.Map(_to_json)
        | "write report" >> beam.io.WriteToText(str(path), shard_name_template="")
    )


# Steps of the pipeline: functions of this module, which workers can import. --------------------


def _call(load: Callable[[], Sequence[AnnotatedImage]]) -> Iterable[AnnotatedImage]:
    return load()


def _convert(options: ConversionOptions, image: AnnotatedImage) -> record_conversion.ConvertedImage:
    return record_conversion.convert_image(image, options)


def _record(converted: record_conversion.ConvertedImage) -> list[bytes]:
    return [] if converted.serialized is None else [converted.serialized]


def _report(converted: record_conversion.ConvertedImage) -> ConversionReport:
    return converted.report


def _sum_reports(reports: Iterable[ConversionReport]) -> ConversionReport:
    total = ConversionReport()
    for report in reports:
        total.add(report)
    return total


def _to_json(report: ConversionReport) -> str:
    # Not `asdict`: it makes a Counter of the pairs of a Counter.
    fields = dataclasses.fields(report)
    return json.dumps({field.name: getattr(report, field.name) for field in fields})


def _from_json(text: str) -> ConversionReport:
    """Return a report with its files in alphabetical order; images arrive in any order."""
    report = ConversionReport(**json.loads(text))
    report.classes = collections.Counter(report.classes)
    report.issues = {key: sorted(names) for key, names in sorted(report.issues.items())}
    return report
