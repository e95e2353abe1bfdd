"""Training and evaluation of runs as subprocesses, one at a time, and the JSON of each.

A run has a directory with its checkpoints, a lock and a record of what its processes cost. The same
command continues a run that was killed, skips one whose JSON exists, and leaves one that another
process works on to that process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from object_detection_mtl.experiments import experiment_files, machine_description
from object_detection_mtl.experiments.dataset_splits import TEST, VALIDATION, Dataset
from object_detection_mtl.experiments.experiment_files import GROUNDTRUTH, OUTPUT, detections_file
from object_detection_mtl.experiments.paired_runs import Run, RunError, make_config
from object_detection_mtl.experiments.run_processes import COSTS, RunProcesses, StepError

CHECKPOINT_EVERY_N = 500
_RUN = "run.json"
_TRAIN, _EVALUATE = "training", "evaluation"
# Part of model_main_tf2's message about a loss or gradient that is NaN or infinite.
_DIVERGED = "became NaN or infinite"


@dataclass(frozen=True)
class Experiment:
    """Settings that all runs of a command share.

    Attributes:
        name: of the experiment.
        dataset: prepared.
        config: path of the config.
        weights: checkpoint to start from; empty for none.
        overrides: of all runs.
        split: that is evaluated.
        directory: of the runs.
        results: directory of the JSON files.
        threads: of a process; None leaves them to TensorFlow.
    """

    name: str
    dataset: Dataset
    config: Path
    weights: str
    overrides: tuple[str, ...]
    split: str
    directory: Path
    results: Path
    threads: int | None = None

    def result_path(self, run: Run) -> Path:
        """Return the path of a run's JSON file."""
        return self.results / f"{run.name}__{self.split}.json"


def execute_all(experiment: Experiment, runs: Sequence[Run]) -> int:
    """Train and evaluate every run that has no result; return the number of failed runs.

    Runs that another process works on are tried once more at the end.
    """
    failures, left = _execute_each(experiment, runs)
    if left:
        more, left = _execute_each(experiment, left)
        failures += more
    return failures


def _execute_each(experiment: Experiment, runs: Sequence[Run]) -> tuple[int, list[Run]]:
    """Return the number of failed runs, and the runs of other processes."""
    failures, left = 0, []
    for run in runs:
        path = experiment.result_path(run)
        directory = experiment.directory / run.name
        directory.mkdir(parents=True, exist_ok=True)
        try:
            with experiment_files.lock(directory / "lock") as descriptor:
                if path.exists():
                    print(f"{run.name}: finished", flush=True)
                    continue
                print(f"{run.name}: starts in {directory}", flush=True)
                execute(experiment, run, directory, descriptor)
                print(f"{run.name}: written to {path}", flush=True)
        except experiment_files.LockedError as error:
            left.append(run)
            print(f"{run.name}: left to another process ({error})", flush=True)
        except StepError as error:
            failures += 1
            print(f"{run.name}: failed. {error}", flush=True)
    return failures, left


def execute(experiment: Experiment, run: Run, directory: Path, descriptor: int) -> None:
    """Train and evaluate one run and write its JSON.

    Args:
        experiment: that the run belongs to.
        run: which one.
        directory: of the run; locked.
        descriptor: of the lock, which subprocesses inherit.

    Raises:
        RunError: the directory has a run of another config.
        StepError: a subprocess failed.
    """
    begun = _begin(experiment, run, directory)
    processes = RunProcesses(directory, descriptor, experiment.threads)
    diverged = begun.get("diverged")
    if diverged is None and not _is_trained(directory):
        diverged = _train(processes, directory)
        if diverged is not None:
            experiment_files.write_json(directory / _RUN, {**begun, "diverged": diverged})
    content = {**begun, "split": experiment.split, "diverged": diverged}
    if diverged is None:
        output = directory / experiment.split
        if not (output / OUTPUT).exists():
            record = experiment.dataset.records[experiment.split]
            module = "object_detection_mtl.experiments.run_evaluation"
            paths = [directory, record, output]
            if experiment.split == TEST:
                paths.append(experiment.dataset.records[VALIDATION])
            processes.call(_EVALUATE, [module, *map(str, paths)])
        content |= experiment_files.read_json(output / OUTPUT)
        _publish_detections(experiment, run, output, list(content["evaluations"]))
    content["costs"] = experiment_files.read_json(directory / COSTS)
    content["evaluated_by"] = machine_description.commit()
    experiment_files.write_json(experiment.result_path(run), content)
    remove_old_checkpoints(directory)


def _begin(experiment: Experiment, run: Run, directory: Path) -> dict[str, Any]:
    """Return what describes a run, as written when its training began."""
    config = make_config(
        experiment.config, run, experiment.dataset, experiment.weights, experiment.overrides
    )
    described = {
        "experiment": experiment.name,
        "dataset": experiment.dataset.name,
        "sizes": experiment.dataset.sizes,
        "run": {**asdict(run), "overrides": list(run.overrides)},
        "name": run.name,
        "overrides": list(experiment.overrides),
        # Of the file: what defaults it resolves to is a matter of the commit.
        "config_sha256": hashlib.sha256(experiment.config.read_bytes()).hexdigest(),
    }
    path = directory / _RUN
    begun = experiment_files.read_json(path)
    if begun is None:
        from object_detection_mtl.config import pipeline

        pipeline.save(config, directory / "given.config")
        begun = {
            **described,
            "config": _portable_text(config, experiment),
            "machine": machine_description.describe(),
            "threads": experiment.threads,
            "trained_by": machine_description.commit(),
        }
        experiment_files.write_json(path, begun)
    changed = [key for key, value in described.items() if begun[key] != value]
    if changed:
        raise RunError(
            f"{directory} has a run of another {', '.join(changed)}; give another --experiment or "
            "remove the directory"
        )
    return begun


def _portable_text(config: Any, experiment: Experiment) -> str:
    """Return the resolved config's text without the directories of this machine."""
    from object_detection_mtl.config import pipeline

    text = pipeline.to_text(config)
    directories = {str(path.parent) for path in experiment.dataset.records.values()}
    if os.path.isabs(experiment.weights):
        directories.add(str(Path(experiment.weights).parent))
    for directory in sorted(directories, key=len, reverse=True):
        text = text.replace(directory, "PATH")
    return text


def _is_trained(directory: Path) -> bool:
    """Return whether a training has ended; one that was interrupted has another exit code."""
    costs = experiment_files.read_json(directory / COSTS, [])
    return any(entry["phase"] == _TRAIN and entry["exit_code"] == 0 for entry in costs)


def _train(processes: RunProcesses, directory: Path) -> str | None:
    """Train to the end; return why if the training diverged."""
    arguments = [
        "object_detection_mtl.model_main_tf2",
        f"--pipeline_config_path={directory / 'given.config'}",
        f"--model_dir={directory}",
        f"--checkpoint_every_n={CHECKPOINT_EVERY_N}",
        "--log_every_n=100",
        "--norecord_summaries",
    ]
    try:
        processes.call(_TRAIN, arguments)
    except StepError as error:
        lines = [line for line in str(error).splitlines() if _DIVERGED in line]
        if not lines:
            raise
        return lines[-1].strip()
    return None


def _publish_detections(experiment: Experiment, run: Run, output: Path, sources: list[str]) -> None:
    """Copy detections beside the JSON, and the ground truth beside all experiments' results."""
    experiment.results.mkdir(parents=True, exist_ok=True)
    stem = experiment.result_path(run).stem
    for source in sources:
        name = detections_file(source)
        shutil.copyfile(output / name, experiment.results / f"{stem}__{name}")
    groundtruth = experiment.results.parent / f"{experiment.split}_{GROUNDTRUTH}"
    if not groundtruth.exists():
        shutil.copyfile(output / GROUNDTRUTH, groundtruth)


def remove_old_checkpoints(directory: Path) -> None:
    """Keep the newest checkpoint alone."""
    paths = sorted(directory.glob("ckpt-*.index"), key=lambda path: int(path.stem.split("-")[1]))
    for path in paths[:-1]:
        for part in directory.glob(f"{path.stem}.*"):
            part.unlink()
