"""Subprocesses of a run: log, cost, termination."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from object_detection_mtl.experiments import experiment_files, machine_description

COSTS, _LOG = "costs.json", "log.txt"
# Interval at which the cost of a running process is recorded; a kill loses at most one interval.
RECORD_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class StepError(Exception):
    """A subprocess failed; the message has the end of its output."""


class RunProcesses:
    """Runs subprocesses one after another.

    Args:
        directory: of the run; gets log and costs.
        descriptor: of the run's lock, which subprocesses inherit.
        threads: of a process; None leaves them to TensorFlow.
    """

    def __init__(self, directory: Path, descriptor: int, threads: int | None) -> None:
        self.directory = directory
        self._descriptor = descriptor
        self._environment = dict(os.environ)
        if threads is not None:
            for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
                self._environment[name] = str(threads)

    def call(self, phase: str, arguments: list[str]) -> None:
        """Run `python -m <arguments>` and add what it costs to the run's record.

        Raises:
            StepError: it failed.
            KeyboardInterrupt: it was interrupted, as this process was.
        """
        costs = experiment_files.read_json(self.directory / COSTS, [])
        # Kept if this process is killed, without an exit code and with the times known by then.
        entry: dict[str, Any] = {
            "phase": phase,
            "wall_seconds": 0.0,
            "cpu_seconds": 0.0,
            "exit_code": None,
        }
        costs.append(entry)
        experiment_files.write_json(self.directory / COSTS, costs)
        start, log = time.monotonic(), self.directory / _LOG
        with log.open("ab") as output:
            position = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=machine_description.ROOT,
                env=self._environment,
                pass_fds=(self._descriptor,),
                # Signals come from this process alone: a second one would stop without saving.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
            watched = _Watch(process.pid, lambda used: self._record(costs, entry, start, used))
            with watched:
                code, usage = _wait(process)
        entry["exit_code"] = code
        self._record(costs, entry, start, usage.ru_utime + usage.ru_stime)
        if code in (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM):
            raise KeyboardInterrupt
        if code:
            text = log.read_bytes()[position:].decode(errors="replace")
            end = "\n".join(text.splitlines()[-30:])
            raise StepError(f"{' '.join(arguments)} ended with exit code {code}:\n{end}")

    def _record(self, costs: list, entry: dict[str, Any], start: float, used: float) -> None:
        entry["wall_seconds"] = round(time.monotonic() - start, 1)
        entry["cpu_seconds"] = round(used, 1)
        experiment_files.write_json(self.directory / COSTS, costs)


class _Watch:
    """Context in which the CPU seconds of a running process are passed on every now and then."""

    def __init__(self, pid: int, record: Callable[[float], None]) -> None:
        self._pid, self._record = pid, record
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(RECORD_SECONDS):
            try:
                times = psutil.Process(self._pid).cpu_times()
            except psutil.NoSuchProcess:
                return
            self._record(times.user + times.system)


def _end_with_parent() -> None:
    """Have Linux end this process (SIGTERM: training saves) when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    """Wait for a process, which gets the signals that end this one; return code and usage."""

    def forward(number: int, _: Any) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage
