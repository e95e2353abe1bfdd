"""The conversion as an Apache Beam pipeline, for data sets that outgrow one machine.

It calls the same `conversion.convert` for each picture. Other than from one machine, the records
come in no particular order, and paths have to be those of a file system that all machines see.

Needs `pip install object_detection_mtl[beam]`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from object_detection_mtl.dataset_tools import conversion
from object_detection_mtl.dataset_tools.annotated import AnnotatedPicture
from object_detection_mtl.dataset_tools.records import prepare_output
from object_detection_mtl.dataset_tools.summary import Summary

# By default Beam's DirectRunner downloads a program and runs that. This is its runner in Python.
_IN_PYTHON = {"DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}


def create_records(
    load: Callable[[], Sequence[AnnotatedPicture]],
    output_path: str | Path,
    *,
    options: conversion.Options | None = None,
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
    beam, pipeline_options = _import_beam()
    paths = prepare_output(output_path, num_shards)
    report_path = Path(output_path).with_name(f".report-{Path(output_path).name}.json")
    settings = pipeline_options(
        flags=[f"--{option}" for option in runner_options], runner=_IN_PYTHON.get(runner, runner)
    )
    pipeline = _make_pipeline(beam, settings, runner)
    converted = (
        pipeline
        | "one element" >> beam.Create([load])
        | "read annotations" >> beam.FlatMap(_call)
        | "spread over workers" >> beam.Reshuffle()
        | "convert" >> beam.Map(functools.partial(_convert, options or conversion.Options()))
    )
    _write_records(beam, converted, output_path, num_shards)
    _write_report(beam, converted, report_path)
    try:
        _run(pipeline, runner)
        report = _from_json(report_path.read_text(encoding="utf-8"))
    finally:
        report_path.unlink(missing_ok=True)
    if not report.pictures:
        for path in paths:
            path.unlink(missing_ok=True)
    conversion.refuse_nothing(report)
    return report


def _import_beam() -> tuple[Any, Any]:
    # What it says of clouds that are not installed, and of every step it takes, is noise here.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.disable(logging.WARNING)
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ValueError(
            f"--runner needs Apache Beam, which cannot be imported ({error}); install it with: "
            "pip install 'object_detection_mtl[beam]'"
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    return apache_beam, PipelineOptions


def _make_pipeline(beam: Any, settings: Any, runner: str) -> Any:
    try:
        return beam.Pipeline(options=settings)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"--runner={runner} cannot be used: {error}") from error


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


def _run(pipeline: Any, runner: str) -> None:
    try:
        pipeline.run().wait_until_finish()
    except (ValueError, OSError):
        raise
    except Exception as error:  # Runners have errors of many kinds.
        raise ValueError(f"the pipeline failed on {runner}: {error}") from error


# Parts of the pipeline. Functions of this module, so that workers find them. -------------------


def _call(load: Callable[[], Sequence[AnnotatedPicture]]) -> Iterable[AnnotatedPicture]:
    return load()


def _convert(options: conversion.Options, picture: AnnotatedPicture) -> conversion.Converted:
    return conversion.convert(picture, options)


def _record(converted: conversion.Converted) -> list[bytes]:
    return [] if converted.serialized is None else [converted.serialized]


def _report(converted: conversion.Converted) -> Summary:
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
