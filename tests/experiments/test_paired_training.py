"""Locks and execution of an experiment's runs, and the JSON of each."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from object_detection_mtl.config import samples
from object_detection_mtl.experiments import experiment_files, paired_training, run_processes
from object_detection_mtl.experiments.paired_runs import Run, RunError
from tests.experiments import fake_results


class TestLock:
    def test_a_held_lock_names_its_process(self, tmp_path):
        with experiment_files.lock(tmp_path / "lock"):
            code = (
                "import sys; from pathlib import Path\n"
                "from object_detection_mtl.experiments import experiment_files\n"
                "with experiment_files.lock(Path(sys.argv[1])): pass"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path / "lock")],
                cwd=Path(__file__).parents[2],
                capture_output=True,
                text=True,
            )
        owner = (tmp_path / "lock").read_text().strip()
        assert f"is held by process {owner}" in done.stderr

    def test_a_killed_process_leaves_no_lock(self, tmp_path):
        code = (
            "import os, sys; from pathlib import Path\n"
            "from object_detection_mtl.experiments import experiment_files\n"
            "with experiment_files.lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        subprocess.run(command, cwd=Path(__file__).parents[2])
        assert (tmp_path / "lock").read_text()
        with experiment_files.lock(tmp_path / "lock"):
            pass


class TestExecution:
    """With subprocesses that only pretend."""

    @pytest.fixture
    def experiment(self, tmp_path):
        return paired_training.Experiment(
            name="screen",
            dataset=fake_results.dataset(tmp_path / "data"),
            config=samples.path("faster_rcnn_mobilenet_v1_mtl_small.config"),
            weights="",
            overrides=(),
            split="validation",
            directory=tmp_path / "runs",
            results=tmp_path / "results" / "screen",
        )

    @pytest.fixture
    def calls(self, monkeypatch):
        """Phases of the subprocesses; an evaluation writes a result and empty files."""
        done = []

        def call(processes, phase, arguments):
            done.append(phase)
            directory = processes.directory
            costs = experiment_files.read_json(directory / "costs.json", [])
            entry = {"phase": phase, "wall_seconds": 1.0, "cpu_seconds": 1.0, "exit_code": 0}
            experiment_files.write_json(directory / "costs.json", [*costs, entry])
            if phase == "evaluation":
                output = Path(arguments[-1])
                experiment_files.write_json(output / "evaluation.json", EVALUATION)
                for name in ("detections_as_trained.npz", "groundtruth.npz"):
                    (output / name).touch()

        monkeypatch.setattr(run_processes.RunProcesses, "call", call)
        return done

    def test_a_run_is_trained_once_and_evaluated_on_each_split(self, experiment, calls):
        from dataclasses import replace

        run = Run("all", "0.1", 1, 5)
        for _ in range(2):
            assert paired_training.execute_all(experiment, [run]) == 0
        assert calls == ["training", "evaluation"]
        # A result that is gone is made again from what the run's directory holds.
        experiment.result_path(run).unlink()
        paired_training.execute_all(experiment, [run])
        assert calls == ["training", "evaluation"]
        paired_training.execute_all(replace(experiment, split="train"), [run])
        assert calls == ["training", "evaluation", "evaluation"]
        content = json.loads(experiment.result_path(run).read_text())
        assert content["run"]["variant"] == "all"
        assert content["split"] == "validation"
        assert content["evaluations"] == EVALUATION["evaluations"]
        published = {path.name for path in experiment.results.glob("*.npz")}
        assert f"{run.name}__validation__detections_as_trained.npz" in published
        assert (experiment.results.parent / "validation_groundtruth.npz").exists()
        assert [cost["phase"] for cost in content["costs"]] == ["training", "evaluation"]
        assert {"processor", "cores", "instructions", "tensorflow"} <= content["machine"].keys()
        assert content["trained_by"].keys() == {"commit", "dirty"}
        assert "PATH/train.record" in content["config"]
        assert str(experiment.directory.parent) not in json.dumps(content)

    def test_a_run_of_other_steps_is_refused(self, experiment, calls):
        paired_training.execute_all(experiment, [Run("all", "0.1", 1, 5)])
        experiment.result_path(Run("all", "0.1", 1, 5)).unlink()
        with pytest.raises(RunError, match="has a run of another run; give another --experiment"):
            paired_training.execute_all(experiment, [Run("all", "0.1", 1, 6)])

    def test_a_locked_run_is_left_to_its_process(self, experiment, calls, capsys):
        run = Run("all", "0.1", 1, 5)
        directory = experiment.directory / run.name
        directory.mkdir(parents=True)
        with experiment_files.lock(directory / "lock"):
            assert paired_training.execute_all(experiment, [run]) == 0
        assert "left to another process" in capsys.readouterr().out
        assert not calls

    @pytest.mark.parametrize(
        ("message", "diverged"), [("Loss/total_loss became NaN or infinite", True), ("no", False)]
    )
    def test_diverged_is_a_result_and_another_failure_is_not(
        self, experiment, monkeypatch, message, diverged
    ):
        def call(processes, phase, arguments):
            experiment_files.write_json(processes.directory / "costs.json", [])
            raise run_processes.StepError(f"ended with exit code 1:\nfirst\n{message}\n")

        monkeypatch.setattr(run_processes.RunProcesses, "call", call)
        run = Run("all", "0.1", 1, 5)
        assert paired_training.execute_all(experiment, [run]) == (0 if diverged else 1)
        path = experiment.result_path(run)
        assert path.exists() == diverged
        if diverged:
            assert json.loads(path.read_text())["diverged"] == message

    def test_costs_of_a_real_process(self, experiment, tmp_path):
        with experiment_files.lock(tmp_path / "lock") as descriptor:
            processes = run_processes.RunProcesses(tmp_path, descriptor, threads=1)
            processes.call("training", ["timeit", "-n", "1", "-r", "1", "pass"])
            with pytest.raises(run_processes.StepError, match="exit code 1"):
                processes.call("training", ["object_detection_mtl.no_such_module"])
        costs = json.loads((tmp_path / "costs.json").read_text())
        assert [cost["exit_code"] for cost in costs] == [0, 1]
        assert all(cost["cpu_seconds"] >= 0 for cost in costs)

    @pytest.mark.parametrize("number", [15, 9])
    def test_a_process_ends_with_the_command_that_started_it(self, tmp_path, number):
        """After a kill or a stop signal no child process remains that would hold the lock."""
        code = (
            "import sys; from pathlib import Path\n"
            "from object_detection_mtl.experiments import experiment_files, run_processes\n"
            "run_processes.RECORD_SECONDS = 0.05\n"
            "with experiment_files.lock(Path('lock').resolve()) as descriptor:\n"
            "    processes = run_processes.RunProcesses(Path.cwd(), descriptor, None)\n"
            "    processes.call('training', ['http.server', '0', '--bind', '127.0.0.1'])\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        parent = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: (tmp_path / "log.txt").exists() and child_of(parent.pid))
        time.sleep(0.5)  # until the parent forwards signals
        os.kill(parent.pid, number)
        assert parent.wait(timeout=600) in (-2, -9)  # Python's KeyboardInterrupt, or killed
        wait_until(lambda: is_free(tmp_path / "lock"))
        costs = json.loads((tmp_path / "costs.json").read_text())
        assert (costs[0]["exit_code"] is None) == (number == 9)
        assert costs[0]["wall_seconds"] >= 0.3
        assert costs[0]["cpu_seconds"] >= 0.0

    def test_only_the_newest_checkpoint_stays(self, tmp_path):
        for number in (1, 9, 10):
            for extension in ("index", "data-00000-of-00001"):
                (tmp_path / f"ckpt-{number}.{extension}").touch()
        paired_training.remove_old_checkpoints(tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["ckpt-10.data-00000-of-00001", "ckpt-10.index"]


def wait_until(condition):
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


def child_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def is_free(path):
    try:
        with experiment_files.lock(path):
            return True
    except experiment_files.LockedError:
        return False


EVALUATION = {"evaluations": {"as trained": {"metrics": {}}}, "curves": {"steps": []}}
