"""Trainings killed at random and inside saves lose nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "kills", [pytest.param(20, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)]
)
def test_kills_lose_no_step_and_change_no_tensor(kills):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", f"--kills={kills}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "\n0 steps lost before the last complete checkpoint\n" in done.stdout
    assert "\n0 of 9 tensors differ" in done.stdout
