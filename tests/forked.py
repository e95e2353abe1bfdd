"""Modules as processes that are copies of one that has imported TensorFlow, which takes seconds.

A copy ends without Python's finalization of a process. Tests of how a command ends start real ones.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["object_detection_mtl.jobs", "object_detection_mtl.training.training_loop"]
)


class ForkedModule:
    """A running `python -m MODULE ARGUMENTS`, with the methods of `subprocess.Popen`.

    Args:
        module: name of the module.
        *arguments: its arguments.
        output: file that gets standard output and standard error.
        environment: variables to set.
    """

    def __init__(
        self,
        module: str,
        *arguments: object,
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        given = (module, [str(argument) for argument in arguments], str(output), environment or {})
        self._process = _CONTEXT.Process(target=_run_module, args=given)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run_module(
    module: str, arguments: list[str], output: str, environment: Mapping[str, str]
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
