"""Killed trainings lose nothing, killed exports leave a whole one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_faults(*flags):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


# Ten: each stage of a save once, and five random times.
@pytest.mark.parametrize(
    "kills", [pytest.param(10, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.long)]
)
def test_kills_lose_no_step_and_change_no_tensor(kills):
    done = run_faults(f"--kills={kills}")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "\n0 steps lost before the last complete checkpoint\n" in done.stdout
    assert "\n0 of 10 tensors differ" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--exchange", "--noexchange"])
def test_killed_exports_leave_the_old_or_the_new_one(flag):
    done = run_faults("--mode=export", "--kills=10", flag)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "\n0 directories without a whole export\n0 leftovers after" in done.stdout
    assert "1 kills: exchange" in done.stdout
