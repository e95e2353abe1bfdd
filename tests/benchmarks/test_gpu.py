"""The checks of a GPU, on a machine without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_checks(*flags):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *flags],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_machine_without_a_gpu_is_told_so():
    assert run_checks() == ["no GPU was found: nothing is checked"]


@pytest.mark.long
def test_all_checks_pass_on_the_cpu():
    faster_rcnn = "--override=model.faster_rcnn"
    lines = run_checks(
        "--device=CPU:0", "--height=64", "--width=64", "--steps=10", "--rounds=1",
        f"{faster_rcnn}.feature_extractor.depth_multiplier=0.25",
        f"{faster_rcnn}.second_stage_batch_size=4",
        f"{faster_rcnn}.first_stage_max_proposals=8",
    )  # fmt: skip
    found = [line.split(": ")[0] for line in lines[1:]]
    assert found == ["pass  step", "pass  mixed precision", "pass  export"]
