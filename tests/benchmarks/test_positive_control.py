"""Positive control in short: context decides the class, and only the refinement can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import context_dataset

ROOT = Path(__file__).parents[2]
MAP = "PascalBoxes_Precision/mAP@0.5IOU"
# As benchmarks/configs/context_control.config, but less of everything.
SMALL = (
    "model.faster_rcnn.feature_extractor.depth_multiplier=0.5",
    "model.faster_rcnn.first_stage_max_proposals=16",
    "model.faster_rcnn.second_stage_batch_size=16",
    "model.mtl.num_windows=16",
    "train_config.batch_size=2",
)


@pytest.mark.slow
def test_tasks_and_refinement_beat_the_baseline_by_five_points(tmp_path):
    context_dataset.write_context_dataset(tmp_path / "voc", {"trainval": 240, "test": 40}, seed=1)
    command = [
        *(sys.executable, "-m", "benchmarks.ablation", "run"),
        *("--dataset=context", "--experiment=short", "--evaluate_on=test"),
        *("--variants=baseline,all+refine", "--learning_rates=0.001", "--steps=260"),
        f"--config={ROOT / 'benchmarks' / 'configs' / 'context_control.config'}",
        f"--data_dir={tmp_path / 'voc'}",
        f"--work_dir={tmp_path / 'work'}",
        f"--results_dir={tmp_path / 'results'}",
        *(f"--override={override}" for override in SMALL),
    ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    evaluations = {}
    for path in (tmp_path / "results").rglob("*.json"):
        result = json.loads(path.read_text())
        for source, evaluation in result["evaluations"].items():
            evaluations[result["run"]["variant"], source] = evaluation["metrics"]
    baseline = evaluations["baseline", "as trained"][MAP]
    refined = evaluations["all+refine", "as trained"]
    assert baseline > 0.4  # it finds the objects and guesses the class of a ring
    assert refined[MAP] >= baseline + 0.05
    assert refined[MAP] >= evaluations["all+refine", "main logits"][MAP] + 0.05
    # Each task has learned what its own labels say, not the trivial answer.
    assert refined["mtl/foreground_iou"] > refined["mtl/foreground_iou_of_all_foreground"] + 0.1
    assert refined["mtl/window_map"] > 0.8
    assert refined["mtl/closeness_accuracy"] > 0.5
