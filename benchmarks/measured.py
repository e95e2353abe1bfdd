"""Run a command in a separate process: its output, CPU time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MeasuredRun:
    """A finished command.

    Attributes:
        code: its exit code.
        lines: (CPU seconds so far, line) of its standard output.
        cpu_seconds: CPU time of all its threads, which other work on the machine affects less than
            wall-clock time.
        peak_gib: its largest resident memory.
    """

    code: int
    lines: tuple[tuple[float, str], ...]
    cpu_seconds: float
    peak_gib: float


def run_measured(arguments: list[str], log: Path) -> MeasuredRun:
    """Run `python <arguments>` with its standard error in the file `log`.

    The process starts with the parent's peak memory, so the parent should be small.
    """
    lines = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.append((_cpu_seconds(process.pid), line.rstrip("\n")))
        # Of this process only; getrusage would return the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return MeasuredRun(
        code=process.returncode,
        lines=tuple(lines),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_gib=usage.ru_maxrss / 2**20,
    )


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a running process."""
    # The name in the second field may contain spaces; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
