"""Positive control in short: context decides the class, and only the refinement can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import context_dataset
from object_detection_mtl import jobs
from object_detection_mtl.config import pipeline
from object_detection_mtl.dataset_tools import create_pascal_tf_record
from object_detection_mtl.experiments import dataset_splits, paired_runs
from object_detection_mtl.experiments.dataset_splits import TEST, TRAIN, Dataset
from tests import command_line

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "benchmarks" / "configs" / "context_control.config"
MAP = "PascalBoxes_Precision/mAP@0.5IOU"
STEPS, RATE = 260, "0.001"
# As benchmarks/configs/context_control.config, but less of everything.
SMALL = (
    "model.faster_rcnn.feature_extractor.depth_multiplier=0.5",
    "model.faster_rcnn.first_stage_max_proposals=16",
    "model.faster_rcnn.second_stage_batch_size=16",
    "model.mtl.num_windows=16",
    "train_config.batch_size=2",
)
NO_TASKS = tuple(f"model.mtl.{task}=false" for task in paired_runs.TASKS)


def check_tasks(refined):
    """Each task has learned what its own labels say, not the trivial answer."""
    assert refined["mtl/foreground_iou"] > refined["mtl/foreground_iou_of_all_foreground"] + 0.1
    assert refined["mtl/window_map"] > 0.8
    assert refined["mtl/closeness_accuracy"] > 0.5


@pytest.fixture
def voc(tmp_path):
    context_dataset.write_context_dataset(tmp_path / "voc", {"trainval": 240, "test": 40}, seed=1)
    return tmp_path / "voc"


def make_records(voc, directory):
    """Return the dataset with the records that an ablation trains on and tests with."""
    classes = tuple(sorted(context_dataset.CLASSES))
    label_map = directory / "label_map.pbtxt"
    items = (f'item {{ id: {i} name: "{name}" }}\n' for i, name in enumerate(classes, start=1))
    label_map.write_text("".join(items))
    lists = dataset_splits.split_lists("context", voc)
    records = {}
    for split in (TRAIN, TEST):
        dataset_splits.write_list(voc / "ImageSets" / "Main" / f"{split}.txt", lists[split])
        records[split] = directory / f"{split}.record"
        done = command_line.run(
            create_pascal_tf_record,
            f"--data_dir={voc}",
            f"--set={split}",
            f"--label_map_path={label_map}",
            f"--output_path={records[split]}",
        )
        assert done.code == 0, done.err
    return Dataset("context", classes, label_map, records, {})


@pytest.mark.slow
def test_the_refinement_beats_the_main_logits_by_five_points(voc, tmp_path):
    """One training, evaluated with and without what the tasks say."""
    dataset = make_records(voc, tmp_path)
    run = paired_runs.Run("all+refine", RATE, seed=1, steps=STEPS)
    config = paired_runs.make_config(CONFIG, run, dataset, "", SMALL)
    path, model_dir = tmp_path / "given.config", tmp_path / "run"
    pipeline.save(config, path)
    # A process of its own chooses the kernels that are fast in training.
    command = [sys.executable, "-m", "object_detection_mtl.model_main_tf2", "--log_every_n=100"]
    command += [f"--pipeline_config_path={path}", f"--model_dir={model_dir}"]
    done = subprocess.run(
        [*command, "--norecord_summaries"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr

    def evaluate(name, *overrides):
        reader = f"eval_input_reader[0].tf_record_input_reader.input_path={dataset.records[TEST]}"
        changed = pipeline.load(path, [reader, *overrides])
        return jobs.evaluate(changed, str(model_dir), tmp_path / name, once=True)

    refined, main = evaluate("refined"), evaluate("main", *NO_TASKS)
    assert main[MAP] > 0.4  # it finds the objects and guesses the class of a ring
    assert refined[MAP] >= main[MAP] + 0.05
    check_tasks(refined)


@pytest.mark.long
def test_tasks_and_refinement_beat_the_baseline_by_five_points(voc, tmp_path):
    command = [
        *(sys.executable, "-m", "benchmarks.ablation", "run"),
        *("--dataset=context", "--experiment=short", "--evaluate_on=test"),
        *("--variants=baseline,all+refine", f"--learning_rates={RATE}", f"--steps={STEPS}"),
        f"--config={CONFIG}",
        f"--data_dir={voc}",
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
    check_tasks(refined)
