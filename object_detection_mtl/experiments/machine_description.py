"""Description of the machine and the code of a result."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from pathlib import Path
from typing import Any

import object_detection_mtl

# Directory that the package lies in: a checkout, or that of installed packages.
ROOT = Path(__file__).parents[2]
# Instructions that decide which kernels run.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def describe() -> dict[str, Any]:
    """Return processor, cores, its instructions and the versions of the libraries."""
    model, flags = "unknown", set()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            model = value.strip()
        elif name.strip() == "flags":
            flags = set(value.split())
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": {flag: flag in flags for flag in _FLAGS},
        "load": round(os.getloadavg()[0], 2),
        **versions,
    }


def commit() -> dict[str, Any]:
    """Return the commit and whether tracked files other than results differ from it.

    An installed package has its version in place of a commit.
    """
    if not (ROOT / "pyproject.toml").exists():
        return {"commit": f"version {object_detection_mtl.__version__}", "dirty": False}

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changes = ("status", "--porcelain", "--untracked-files=no", "--", ":!benchmarks/results")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git(*changes))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": True}
