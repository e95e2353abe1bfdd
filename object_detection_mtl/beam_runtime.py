"""Apache Beam (optional package): flags, import, pipelines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from absl import flags

from object_detection_mtl import optional_packages

# By default Beam's DirectRunner downloads a program and runs it. This is its runner in Python.
_PYTHON_RUNNERS = {"DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}


def define_flags(action: str) -> None:
    """Define --runner and --runner_option.

    Args:
        action: what the command does with Beam, such as "Convert"; begins the help.
    """
    flags.DEFINE_string(
        "runner",
        None,
        f"{action} with Apache Beam, for datasets that are too large for one machine: the name of "
        "a runner such as DirectRunner, FlinkRunner, DataflowRunner. Needs "
        "object_detection_mtl[beam], and paths that are the same on all machines.",
    )
    flags.DEFINE_multi_string(
        "runner_option", [], "An option of the runner, name=value. Can be given repeatedly."
    )


def import_beam() -> Any:
    """Import the package apache_beam.

    Returns:
        The package.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    # Its messages about missing cloud packages and about every step are not for users.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.disable(logging.WARNING)
    try:
        return optional_packages.import_package(
            "apache_beam", "beam", "--runner needs Apache Beam, which cannot be imported"
        )
    finally:
        logging.disable(logging.NOTSET)


def make_pipeline(runner: str, runner_options: Sequence[str]) -> Any:
    """Return an empty pipeline.

    Args:
        runner: name of a Beam runner.
        runner_options: "name=value" each.

    Returns:
        A `beam.Pipeline`.

    Raises:
        ValueError: Beam is not installed, or the runner does not exist.
    """
    beam = import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(
        flags=[f"--{option}" for option in runner_options],
        runner=_PYTHON_RUNNERS.get(runner, runner),
    )
    try:
        return beam.Pipeline(options=options)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"--runner={runner} cannot be used: {error}") from error


def run_pipeline(pipeline: Any, runner: str) -> None:
    """Run a pipeline and wait until it has finished.

    Args:
        pipeline: from `make_pipeline`.
        runner: name of its runner, for messages.

    Raises:
        ValueError: it failed.
        OSError: a file could not be read or written.
    """
    try:
        pipeline.run().wait_until_finish()
    except (ValueError, OSError):
        raise
    except Exception as error:  # Runners raise errors of many types.
        raise ValueError(f"the pipeline failed on {runner}: {error}") from error
