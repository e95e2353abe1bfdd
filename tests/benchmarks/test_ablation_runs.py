"""Splits, names, configs, locks and steps of an ablation's runs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import ablation, ablation_data, ablation_files, ablation_runs, ablation_training
from benchmarks.ablation_runs import Run, RunError


class TestSplits:
    def test_a_fixed_share_whatever_the_order(self):
        ids = [f"image_{number}" for number in range(100)]
        train, validation = ablation_data.choose_validation(ids)
        assert (len(train), len(validation)) == (85, 15)
        assert sorted(train + validation) == sorted(ids)
        assert ablation_data.choose_validation(ids[::-1]) == (train, validation)

    def test_known_choice(self):
        """Hashes are the same everywhere: sha256 of the ids, the lowest are validation."""
        _, validation = ablation_data.choose_validation([f"{number:03d}" for number in range(20)])
        assert validation == KNOWN

    @pytest.mark.parametrize("name", ["highway", "doordetect", "bccd"])
    def test_committed_lists_are_what_the_function_chooses(self, name):
        paths = ablation_data.split_paths(name)
        train, validation = (ablation_data.read_list(path) for path in paths.values())
        assert ablation_data.choose_validation(train + validation) == (train, validation)

    def test_lists_of_another_dataset_are_refused(self, tmp_path):
        for split in ("trainval", "test"):
            path = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
            ablation_data.write_list(path, ["a", "b"])
        with pytest.raises(ValueError, match="are not in trainval"):
            ablation_data.split_lists("bccd", tmp_path)
        assert ablation_data.split_lists("mine", tmp_path)["test"] == ["a", "b"]


class TestRuns:
    def test_names_and_order(self):
        forms = {"equal": {"model.mtl.global_closeness": "false", "steps": "7"}}
        runs = ablation_runs.make_runs(
            ["baseline", "all+refine@equal"], ["0.1", "0.2"], [1, 2], steps=5, forms=forms
        )
        assert [run.name for run in runs][:5] == [
            "baseline__lr0.1__seed1",
            "baseline__lr0.2__seed1",
            "all+refine@equal__lr0.1__seed1",
            "all+refine@equal__lr0.2__seed1",
            "baseline__lr0.1__seed2",
        ]
        assert len({run.name for run in runs}) == 8
        form = runs[2]
        assert form.steps == 7 and form.overrides == ("model.mtl.global_closeness=false",)
        assert form.tasks == ("window", "closeness", "edgemask", "refine")
        assert runs[0].steps == 5 and not runs[0].tasks

    def test_later_forms_win(self):
        forms = {"a": {"x.y": "1", "x.z": "1"}, "b": {"x.y": "2"}}
        run = ablation_runs.make_runs(["all@a@b"], ["1"], [1], steps=1, forms=forms)[0]
        assert run.overrides == ("x.y=2", "x.z=1")

    def test_a_form_may_have_commas_in_a_value(self):
        assert ablation_runs.parse_form("wide=a.b=[0.5, 1],c[0].d=x,steps=9") == (
            "wide",
            {"a.b": "[0.5, 1]", "c[0].d": "x", "steps": "9"},
        )

    @pytest.mark.parametrize("text", ["=a.b=1", "name", "name=", "a/b=c.d=1", "name=value"])
    def test_wrong_forms(self, text):
        with pytest.raises(RunError, match="--form="):
            ablation_runs.parse_form(text)

    @pytest.mark.parametrize(
        ("variants", "rates", "message"),
        [
            (["everything"], ["1"], "'everything'; expected one of baseline, window"),
            (["all@new"], ["1"], "names the form 'new'; give --form=new="),
            (["all"], ["0"], "'0'; expected positive numbers"),
            (["all"], ["fast"], "'fast'; expected positive numbers"),
        ],
    )
    def test_wrong_runs(self, variants, rates, message):
        with pytest.raises(RunError, match=message):
            ablation_runs.make_runs(variants, rates, [1], steps=1, forms={})


def dataset(folder):
    records = {split: folder / f"{split}.record" for split in ("train", "validation", "test")}
    sizes = dict.fromkeys(records, 1)
    return ablation_data.Dataset("d", ("a", "b"), folder / "map.pbtxt", records, sizes)


class TestConfig:
    def test_what_a_run_sets(self, tmp_path):
        run = Run("closeness", "0.003", 7, 100, ("train_config.batch_size=4",))
        config = ablation_runs.make_config(
            ablation.CONFIG, run, dataset(tmp_path), "w.ckpt", ["train_config.batch_size=3"]
        )
        mtl, train = config.model.mtl, config.train_config
        assert [mtl.window, mtl.closeness, mtl.edgemask, mtl.refine] == [False, True, False, False]
        assert config.model.faster_rcnn.num_classes == 2
        assert (train.seed, train.num_steps, train.batch_size) == (7, 100, 4)
        assert train.fine_tune_checkpoint == "w.ckpt"
        rate = train.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
        assert rate.learning_rate_base == pytest.approx(0.003)
        assert rate.warmup_learning_rate == pytest.approx(0.0003)
        assert (rate.total_steps, rate.warmup_steps) == (100, 5)
        paths = config.train_input_reader.tf_record_input_reader.input_path
        assert list(paths) == [str(tmp_path / "train.record")]

    def test_a_schedule_that_cannot_follow(self, tmp_path):
        """The VOC sample has steps of its own."""
        sample = ablation.CONFIG.parents[2] / "samples/configs/rfcn_resnet101_voc07.config"
        with pytest.raises(RunError, match="manual_step_learning_rate: a schedule that does not"):
            ablation_runs.make_config(sample, Run("all", "1", 1, 9), dataset(tmp_path), "")


class TestLock:
    def test_a_held_lock_names_its_process(self, tmp_path):
        with ablation_files.lock(tmp_path / "lock"):
            code = (
                "import sys; from pathlib import Path; from benchmarks import ablation_files\n"
                "with ablation_files.lock(Path(sys.argv[1])): pass"
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
            "import os, sys; from pathlib import Path; from benchmarks import ablation_files\n"
            "with ablation_files.lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        subprocess.run(command, cwd=Path(__file__).parents[2])
        assert (tmp_path / "lock").read_text()
        with ablation_files.lock(tmp_path / "lock"):
            pass


class TestExecution:
    """With subprocesses that only pretend."""

    @pytest.fixture
    def experiment(self, tmp_path):
        return ablation_training.Experiment(
            name="screen",
            dataset=dataset(tmp_path / "data"),
            config=ablation.CONFIG,
            weights="",
            overrides=(),
            split="validation",
            directory=tmp_path / "runs",
            results=tmp_path / "results" / "screen",
        )

    @pytest.fixture
    def calls(self, monkeypatch):
        """Phases of the subprocesses; an evaluation writes an empty result."""
        done = []

        def call(processes, phase, arguments):
            done.append(phase)
            directory = processes._directory
            costs = ablation_files.read_json(directory / "costs.json", [])
            entry = {"phase": phase, "wall_seconds": 1.0, "cpu_seconds": 1.0, "exit_code": 0}
            ablation_files.write_json(directory / "costs.json", [*costs, entry])
            if phase == "evaluation":
                ablation_files.write_json(Path(arguments[-1]) / "evaluation.json", EVALUATION)

        monkeypatch.setattr(ablation_training._Processes, "call", call)
        return done

    def test_a_run_is_trained_once_and_evaluated_on_each_split(self, experiment, calls):
        from dataclasses import replace

        run = Run("all", "0.1", 1, 5)
        for _ in range(2):
            assert ablation_training.execute_all(experiment, [run]) == 0
        assert calls == ["training", "evaluation"]
        # A result that is gone is made again from what the run's directory holds.
        experiment.result_path(run).unlink()
        ablation_training.execute_all(experiment, [run])
        assert calls == ["training", "evaluation"]
        ablation_training.execute_all(replace(experiment, split="train"), [run])
        assert calls == ["training", "evaluation", "evaluation"]
        content = json.loads(experiment.result_path(run).read_text())
        assert content["run"]["variant"] == "all" and content["split"] == "validation"
        assert content["evaluations"] == EVALUATION["evaluations"]
        assert [cost["phase"] for cost in content["costs"]] == ["training", "evaluation"]
        assert {"processor", "cores", "instructions", "tensorflow"} <= content["machine"].keys()
        assert content["trained_by"].keys() == {"commit", "dirty"}
        assert "PATH/train.record" in content["config"]
        assert str(experiment.directory.parent) not in json.dumps(content)

    def test_a_run_of_other_steps_is_refused(self, experiment, calls):
        ablation_training.execute_all(experiment, [Run("all", "0.1", 1, 5)])
        experiment.result_path(Run("all", "0.1", 1, 5)).unlink()
        with pytest.raises(RunError, match="has a run of another run; give another --experiment"):
            ablation_training.execute_all(experiment, [Run("all", "0.1", 1, 6)])

    def test_a_locked_run_is_left_to_its_process(self, experiment, calls, capsys):
        run = Run("all", "0.1", 1, 5)
        directory = experiment.directory / run.name
        directory.mkdir(parents=True)
        with ablation_files.lock(directory / "lock"):
            assert ablation_training.execute_all(experiment, [run]) == 0
        assert "left to another process" in capsys.readouterr().out
        assert not calls

    @pytest.mark.parametrize(
        ("message", "diverged"), [("Loss/total_loss became NaN or infinite", True), ("no", False)]
    )
    def test_diverged_is_a_result_and_another_failure_is_not(
        self, experiment, monkeypatch, message, diverged
    ):
        def call(processes, phase, arguments):
            ablation_files.write_json(processes._directory / "costs.json", [])
            raise ablation_training.StepError(f"ended with exit code 1:\nfirst\n{message}\n")

        monkeypatch.setattr(ablation_training._Processes, "call", call)
        run = Run("all", "0.1", 1, 5)
        assert ablation_training.execute_all(experiment, [run]) == (0 if diverged else 1)
        path = experiment.result_path(run)
        assert path.exists() == diverged
        if diverged:
            assert json.loads(path.read_text())["diverged"] == message

    def test_costs_of_a_real_process(self, experiment, tmp_path):
        with ablation_files.lock(tmp_path / "lock") as descriptor:
            processes = ablation_training._Processes(tmp_path, descriptor, threads=1)
            processes.call("training", ["timeit", "-n", "1", "-r", "1", "pass"])
            with pytest.raises(ablation_training.StepError, match="exit code 1"):
                processes.call("training", ["benchmarks.no_such_module"])
        costs = json.loads((tmp_path / "costs.json").read_text())
        assert [cost["exit_code"] for cost in costs] == [0, 1]
        assert all(cost["cpu_seconds"] >= 0 for cost in costs)

    @pytest.mark.parametrize("number", [15, 9])
    def test_a_process_ends_with_the_command_that_started_it(self, tmp_path, number):
        """Killed or told to stop, it leaves no child behind that would hold the lock."""
        code = (
            "import sys; from pathlib import Path\n"
            "from benchmarks import ablation_files, ablation_training\n"
            "with ablation_files.lock(Path('lock').resolve()) as descriptor:\n"
            "    processes = ablation_training._Processes(Path.cwd(), descriptor, None)\n"
            "    processes.call('training', ['http.server', '0', '--bind', '127.0.0.1'])\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        parent = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: (tmp_path / "log.txt").exists() and child_of(parent.pid))
        time.sleep(0.5)  # until the parent forwards signals
        os.kill(parent.pid, number)
        assert parent.wait(timeout=20) in (-2, -9)  # Python's KeyboardInterrupt, or killed
        wait_until(lambda: is_free(tmp_path / "lock"))
        costs = json.loads((tmp_path / "costs.json").read_text())
        assert (costs[0]["exit_code"] is None) == (number == 9)

    def test_only_the_newest_checkpoint_stays(self, tmp_path):
        for number in (1, 9, 10):
            for ending in ("index", "data-00000-of-00001"):
                (tmp_path / f"ckpt-{number}.{ending}").touch()
        ablation_training._remove_old_checkpoints(tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["ckpt-10.data-00000-of-00001", "ckpt-10.index"]


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


def child_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def is_free(path):
    try:
        with ablation_files.lock(path):
            return True
    except ablation_files.LockedError:
        return False


EVALUATION = {"evaluations": {"as trained": {"metrics": {}}}, "curves": {"steps": []}}
KNOWN = ["000", "010", "015"]
