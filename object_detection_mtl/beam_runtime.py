"""Apache Beam, which is an extra: importing it, starting a pipeline on a runner, waiting for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from absl import flags

from object_detection_mtl import optional_packages

# By default Beam's DirectRunner downloads a program and runs that. This is its runner in Python.
_IN_PYTHON = {"DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}


def define_flags(what: str) -> None:
    """--runner and --runner_option.

    Args:
      what: happens with Beam, for the help.
    """
    flags.DEFINE_string(
        "runner",
        None,
        f"{what} with Apache Beam, for data sets that outgrow one machine: the name of a runner "
        "such as DirectRunner, FlinkRunner, DataflowRunner. Needs object_detection_mtl[beam], and "
        "paths that are the same on all machines.",
    )
    flags.DEFINE_multi_string(
        "runner_option", [], "An option of the runner, name=value. Can be given repeatedly."
    )


def import_beam() -> Any:
    """The package apache_beam.

    Raises:
      ValueError: it is not installed; the message says how to.
    """
    # What it says of clouds that are not installed, and of every step it takes, is noise here.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.disable(logging.WARNING)
    try:
        return optional_packages.import_package(
            "apache_beam", "beam", "--runner needs Apache Beam, which cannot be imported"
        )
    finally:
        logging.disable(logging.NOTSET)


def make_pipeline(runner: str, runner_options: Sequence[str]) -> Any:
    """An empty pipeline.

    Args:
      runner: name of a Beam runner.
      runner_options: "name=value" each.

    Raises:
      ValueError: Beam is not installed, or there is no such runner.
    """
    beam = import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    settings = PipelineOptions(
        flags=[f"--{option}" for option in runner_options], runner=_IN_PYTHON.get(runner, runner)
    )
    try:
        return beam.Pipeline(options=settings)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"--runner={runner} cannot be used: {error}") from error


def run(pipeline: Any, runner: str) -> None:
    """Runs a pipeline and waits for it.

    Raises:
      ValueError, OSError: it failed.
    """
    try:
        pipeline.run().wait_until_finish()
    except (ValueError, OSError):
        raise
    except Exception as error:  # Runners have errors of many kinds.
        raise ValueError(f"the pipeline failed on {runner}: {error}") from error
