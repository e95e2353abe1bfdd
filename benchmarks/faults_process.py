"""Forks in which `benchmarks.faults` trains and exports."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


def fork(work: Callable[[], None], log: Path) -> int:
    """Start `work` in a process of its own; return the number of the process.

    Its output is appended to the log; its exit status is 1 if it raises an error.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)
