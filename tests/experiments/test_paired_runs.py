"""Splits, names and configs of paired runs."""

from pathlib import Path

import pytest

from object_detection_mtl.config import samples
from object_detection_mtl.experiments import dataset_splits, paired_runs
from object_detection_mtl.experiments.paired_runs import Run, RunError
from tests.experiments import fake_results

SPLITS = Path(__file__).parents[2] / "benchmarks" / "splits"


class TestSplits:
    def test_a_fixed_share_whatever_the_order(self):
        ids = [f"image_{number}" for number in range(100)]
        train, validation = dataset_splits.choose_validation(ids)
        assert (len(train), len(validation)) == (85, 15)
        assert sorted(train + validation) == sorted(ids)
        assert dataset_splits.choose_validation(ids[::-1]) == (train, validation)

    def test_known_choice(self):
        """Hashes are the same everywhere: sha256 of the ids, the lowest are validation."""
        _, validation = dataset_splits.choose_validation([f"{number:03d}" for number in range(20)])
        assert validation == ["000", "010", "015"]

    @pytest.mark.parametrize("name", ["highway", "doordetect", "bccd"])
    def test_committed_lists_are_what_the_function_chooses(self, name):
        paths = dataset_splits.split_paths(name, SPLITS)
        train, validation = (dataset_splits.read_list(path) for path in paths.values())
        assert dataset_splits.choose_validation(train + validation) == (train, validation)

    def test_lists_of_another_dataset_are_refused(self, tmp_path):
        for split in ("trainval", "test"):
            path = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
            dataset_splits.write_list(path, ["a", "b"])
        with pytest.raises(ValueError, match="are not in trainval"):
            dataset_splits.split_lists("bccd", tmp_path, SPLITS)
        assert dataset_splits.split_lists("mine", tmp_path, SPLITS)["test"] == ["a", "b"]


class TestRuns:
    def test_names_and_order(self):
        forms = {"equal": {"model.mtl.global_closeness": "false", "steps": "7"}}
        runs = paired_runs.make_runs(
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
        assert form.steps == 7
        assert form.overrides == ("model.mtl.global_closeness=false",)
        assert form.tasks == ("window", "closeness", "edgemask", "refine")
        assert runs[0].steps == 5
        assert not runs[0].tasks

    def test_ingredients_of_the_refinement(self):
        """Each task alone with the refinement, and all others without it."""
        tasks = {name: set(tasks) for name, tasks in paired_runs.VARIANTS.items()}
        everything = set(paired_runs.TASKS)
        for task, name in (("window",) * 2, ("closeness",) * 2, ("edgemask", "foreground")):
            assert tasks[f"{name}+refine"] == {task, "refine"}
            others = [n for n in ("window", "closeness", "foreground") if n != name]
            assert tasks["+".join([*others, "refine"])] == everything - {task}

    def test_later_forms_win(self):
        forms = {"a": {"x.y": "1", "x.z": "1"}, "b": {"x.y": "2"}}
        run = paired_runs.make_runs(["all@a@b"], ["1"], [1], steps=1, forms=forms)[0]
        assert run.overrides == ("x.y=2", "x.z=1")

    def test_a_form_may_have_commas_in_a_value(self):
        assert paired_runs.parse_form("wide=a.b=[0.5, 1],c[0].d=x,steps=9") == (
            "wide",
            {"a.b": "[0.5, 1]", "c[0].d": "x", "steps": "9"},
        )

    @pytest.mark.parametrize("text", ["=a.b=1", "name", "name=", "a/b=c.d=1", "name=value"])
    def test_wrong_forms(self, text):
        with pytest.raises(RunError, match="--form="):
            paired_runs.parse_form(text)

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
            paired_runs.make_runs(variants, rates, [1], steps=1, forms={})


class TestConfig:
    def test_what_a_run_sets(self, tmp_path):
        run = Run("closeness", "0.003", 7, 100, ("train_config.batch_size=4",))
        config = paired_runs.make_config(
            samples.path("faster_rcnn_mobilenet_v1_mtl_small.config"),
            run,
            fake_results.dataset(tmp_path),
            "w.ckpt",
            ["train_config.batch_size=3"],
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
        sample = samples.path("rfcn_resnet101_voc07.config")
        with pytest.raises(RunError, match="manual_step_learning_rate: a schedule that does not"):
            paired_runs.make_config(
                sample, Run("all", "1", 1, 9), fake_results.dataset(tmp_path), ""
            )
