"""The command that tries the auxiliary tasks on a user's dataset."""

import json
import re
from pathlib import Path

import pytest

from object_detection_mtl import jobs, try_tasks
from object_detection_mtl.config import pipeline
from object_detection_mtl.experiments import (
    experiment_files,
    run_evaluation,
    run_processes,
    task_trial,
)
from object_detection_mtl.training.run_options import RunOptions
from tests import command_line
from tests.experiments import tiny_experiment


@pytest.fixture
def voc(tmp_path):
    """Forty images of two classes, without lists."""
    return tiny_experiment.make_voc_directory(tmp_path / "voc", 40)


@pytest.fixture
def phases(monkeypatch):
    """Phases of the processes, which run in this one; starting them takes most of the time."""
    done = []

    def call(processes, phase, arguments):
        done.append(phase)
        if phase == "evaluation":
            run_evaluation.evaluate(*map(Path, arguments[1:]))
        else:
            values = dict(argument.removeprefix("--").split("=") for argument in arguments[1:4])
            config = pipeline.load(values["pipeline_config_path"])
            jobs.train(
                config, values["model_dir"], RunOptions(record_summaries=False, log_every_n=1)
            )
        path = processes.directory / "costs.json"
        entry = {"phase": phase, "wall_seconds": 60.0, "cpu_seconds": 60.0, "exit_code": 0}
        experiment_files.write_json(path, [*experiment_files.read_json(path, []), entry])

    monkeypatch.setattr(run_processes.RunProcesses, "call", call)
    monkeypatch.setattr(task_trial, "TIMED_STEPS", 4)
    monkeypatch.setattr(task_trial, "VARIANTS", ("baseline", "all+refine"))
    return done


@pytest.mark.long
def test_from_annotations_to_a_comparison(voc, tmp_path, phases):
    flags = [
        f"--data_dir={voc}",
        f"--output_dir={tmp_path / 'out'}",
        "--weights=none",
        "--seeds=1",
        "--learning_rates=0.001",
        "--steps=2",
        *tiny_experiment.FLAGS,
    ]
    done = command_line.run(try_tasks, *flags, "--estimate_only")
    assert done.code == 0, done.err
    assert "2 classes; images: 28 train, 6 validation, 6 test" in done.out
    assert "hours for 2 trainings of 2 steps" in done.out
    assert phases == ["timing"] * 2

    done = command_line.run(try_tasks, *flags)
    assert done.code == 0, done.err
    assert phases[2:] == ["training", "evaluation"] * 2 + ["evaluation"] * 2
    report = (tmp_path / "out" / "comparison.md").read_text()
    assert report.strip() in done.out
    for variant in ("all+refine", "all+refine, main logits", "all+refine, refitted to validation"):
        assert f"| {variant} | 0.001 |" in report
    assert "no detections" not in report
    path = tmp_path / "out/results/trial/all+refine__lr0.001__seed1__test.json"
    evaluations = json.loads(path.read_text())["evaluations"]
    assert all(evaluation["seconds_per_image"] > 0 for evaluation in evaluations.values())

    phases.clear()
    done = command_line.run(try_tasks, *flags)
    assert done.code == 0
    assert not phases


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "expected --data_dir .* or --annotations_file"),
        (["--data_dir=a", "--annotations_file=b"], "one of them"),
        (["--annotations_file=b"], "--image_dir is missing"),
        (["--data_dir=a", "--seeds=1,1"], "--seeds: 1,1; expected different whole numbers"),
    ],
)
def test_wrong_flags(flags, message, tmp_path):
    done = command_line.run(try_tasks, *flags, f"--output_dir={tmp_path}")
    assert done.code == 1
    assert re.search(message, done.err)
