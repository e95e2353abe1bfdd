"""Running a command as a process of its own: what it prints, its processor time, its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """A command that has ended.

    Attributes:
      code: its exit code.
      lines: (processor seconds so far, line) of its standard output.
      processor_seconds: of all its threads. On a machine with other work to do they say more than
        a clock.
      peak_gib: its largest resident memory.
    """

    code: int
    lines: tuple[tuple[float, str], ...]
    processor_seconds: float
    peak_gib: float


def run(arguments: list[str], log: Path) -> Run:
    """Runs `python <arguments>`; its standard error goes to the file `log`.

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
                lines.append((_processor_seconds(process.pid), line.rstrip("\n")))
        # Of this process alone; getrusage would tell the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(
        code=process.returncode,
        lines=tuple(lines),
        processor_seconds=usage.ru_utime + usage.ru_stime,
        peak_gib=usage.ru_maxrss / 2**20,
    )


def _processor_seconds(pid: int) -> float:
    """Of a process that has not been waited for."""
    # The name in the second field may hold spaces; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
