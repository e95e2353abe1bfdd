"""Training and evaluation from a config, on record files."""

import contextlib
import functools
import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.builders import evaluation_builder
from object_detection_mtl.checkpoints import loading, native
from object_detection_mtl.config import pipeline
from object_detection_mtl.evaluation import checkpoint_evaluation
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.reporting.checkpoint_report import ReportRequest
from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation
from object_detection_mtl.training.run_options import RunOptions
from tests import records
from tests.evaluation.test_metrics_output import events
from tests.training.linear import LinearDetector
from tests.training.tiny import tiny_detector

KEY = "model/{}/.ATTRIBUTES/VARIABLE_VALUE"
NAME = "SecondStageBoxPredictor/ClassPredictor/biases"
LABELS = {
    Groundtruth.closeness,
    Groundtruth.window_boxes,
    Groundtruth.window_classes,
    Groundtruth.num_windows,
    Groundtruth.edgemask,
}


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records.write(path)
    return path


def patch_builder(monkeypatch, make_detector):
    """Build a detector of the tests instead of the config's MobileNet."""
    monkeypatch.setattr(jobs.model_builder, "build", make_detector)


@pytest.fixture
def linear(monkeypatch):
    """The smallest trainable detector."""
    patch_builder(monkeypatch, lambda config, is_training=False: LinearDetector(noise=0.1))
    monkeypatch.setattr(
        native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
    )


def tiny(config, is_training=False):
    """Return the smallest detector."""
    return tiny_detector(config.faster_rcnn.num_classes, is_training=is_training)


def weights_of(prefix):
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
def test_a_mobilenet_trains_and_is_evaluated(records_dir, tmp_path, capsys):
    config = records.load(records_dir, "train_config.num_steps=2")
    result = jobs.train(config, tmp_path, RunOptions(log_every_n=1))
    assert result.step == 2
    assert result.checkpoint == str(tmp_path / "ckpt-2")
    assert np.isfinite(result.metrics["Loss/total_loss"])
    assert pipeline.load(tmp_path / "pipeline.config") == config
    first, last = weights_of(str(tmp_path / "ckpt-1")), weights_of(result.checkpoint)
    assert np.any(first[KEY.format(NAME)] != last[KEY.format(NAME)])
    assert "train_input_images" in events(tmp_path / "train")
    capsys.readouterr()

    metrics = jobs.evaluate(config, str(tmp_path), tmp_path, once=True)
    assert set(metrics) == {
        "PascalBoxes_Precision/mAP@0.5IOU",
        "PascalBoxes_PerformanceByCategory/AP@0.5IOU/square",
        "PascalBoxes_PerformanceByCategory/AP@0.5IOU/stripe",
        "Loss/RPNLoss/localization_loss",
        "Loss/RPNLoss/objectness_loss",
        "Loss/BoxClassifierLoss/localization_loss",
        "Loss/BoxClassifierLoss/classification_loss",
        "Loss/regularization_loss",
        "Loss/total_loss",
    }
    found = events(tmp_path / "eval" / "val")
    assert set(metrics) | {"eval_side_by_side_0_0", "eval_side_by_side_1_0"} == set(found)
    assert list(found["Loss/total_loss"]) == [2]
    written = json.loads((tmp_path / "eval" / "val" / "metrics-2.json").read_text())
    assert written["num_images"] == 3
    assert written["checkpoint"] == result.checkpoint
    assert written["metrics"]["Loss/total_loss"] == pytest.approx(metrics["Loss/total_loss"])
    assert "PascalBoxes_Precision/mAP@0.5IOU" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_with_all_tasks_draws_their_predictions(records_dir, tmp_path):
    tasks = [f"model.mtl.{task}=true" for task in ("window", "closeness", "edgemask", "refine")]
    weights = [
        f"model.mtl.{loss}_weight=1.0"
        for loss in ("window_class_loss", "closeness_loss", "edgemask_loss")
    ]
    kernel = "model.mtl.edgemask_predictor.kernel_size=1"
    config = records.load(records_dir, "train_config.num_steps=1", *tasks, *weights, kernel)
    jobs.train(config, tmp_path)
    inputs = events(tmp_path / "train")
    assert {"train_input_labels_0", "train_input_labels_1"} <= set(inputs)
    report = tmp_path / "report"
    metrics = jobs.evaluate(
        config, str(tmp_path), tmp_path, once=True, report=ReportRequest(str(report))
    )
    text = (report / "report.html").read_text(encoding="utf-8")
    assert "What the refinement changed" in text
    assert text.count("<figcaption>auxiliary") == 2
    written = json.loads((report / "metrics.json").read_text())
    for name in ("PascalBoxes_Precision/mAP@0.5IOU", "Loss/total_loss", "mtl/window_map"):
        assert written["metrics"][name] == pytest.approx(metrics[name])
    assert {"mtl/window_map", "mtl/edgemask_ap", "Loss/MTL/window_class_loss"} <= set(metrics)
    figures = {name for name in events(tmp_path / "eval" / "val") if name.startswith("eval_")}
    assert figures == {
        f"eval_{kind}_{batch}_0" for kind in ("side_by_side", "auxiliary") for batch in (0, 1)
    }


@pytest.mark.slow
def test_proposals_are_evaluated_as_one_class(records_dir, tmp_path):
    config = records.load(
        records_dir, "train_config.num_steps=1", "model.faster_rcnn.number_of_stages=1"
    )
    jobs.train(config, tmp_path)
    metrics = jobs.evaluate(config, str(tmp_path), tmp_path, once=True)
    assert {name for name in metrics if name.startswith("Pascal")} == {
        "PascalBoxes_Precision/mAP@0.5IOU",
        "PascalBoxes_PerformanceByCategory/AP@0.5IOU/object",
    }
    written = json.loads((tmp_path / "eval" / "val" / "metrics-1.json").read_text())
    assert written["num_groundtruth"] > 0
    assert written["num_detections"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {}),
        (
            ("model.mtl.closeness=true", "model.mtl.window=true", "model.mtl.num_windows=5"),
            {
                Groundtruth.closeness: [None, 3],
                Groundtruth.window_boxes: [5, 4],
                Groundtruth.window_classes: [5, 3],
                Groundtruth.num_windows: [],
            },
        ),
    ],
    ids=["none", "two"],
)
def test_labels_of_the_tasks_that_are_on(records_dir, tmp_path, monkeypatch, options, expected):
    """The labels reach the losses of training and of evaluation."""
    specs = []

    def watch(*arguments, **keywords):
        made = build_pipeline(*arguments, **keywords)
        specs.append(made.dataset.element_spec)
        return made

    build_pipeline = jobs.input_reader_builder.build_pipeline
    monkeypatch.setattr(jobs.input_reader_builder, "build_pipeline", watch)
    config = records.load(records_dir, "train_config.num_steps=1", *options)
    jobs.train(config, tmp_path)
    evaluation = mock.Mock(**{"return_value.evaluate.return_value": (1, {})})
    monkeypatch.setattr(evaluation_builder, "CheckpointEvaluation", evaluation)
    jobs.evaluate(config, str(tmp_path), tmp_path, once=True)
    assert len(specs) == 2
    for spec in specs:
        assert {key: spec[key].shape[1:].as_list() for key in spec.keys() & LABELS} == expected


@pytest.mark.usefixtures("linear")
class TestTrain:
    @pytest.mark.slow
    def test_a_resumed_run_equals_an_uninterrupted_run(self, records_dir, tmp_path):
        config = records.load(records_dir)
        whole = jobs.train(config, tmp_path / "whole", RunOptions(num_steps=5))
        jobs.train(config, tmp_path / "parts", RunOptions(num_steps=2))
        parts = jobs.train(config, tmp_path / "parts", RunOptions(num_steps=5))
        assert parts.step == whole.step == 5
        wanted = weights_of(whole.checkpoint)
        for key, value in weights_of(parts.checkpoint).items():
            np.testing.assert_array_equal(value, wanted[key])

    @pytest.mark.slow
    def test_a_remote_directory_is_trained_in_and_evaluated(self, records_dir):
        """`ram://` is a file system of TensorFlow alone, as gs:// is."""
        config = records.load(records_dir)
        jobs.train(config, "ram://run", RunOptions(num_steps=1))
        result = jobs.train(config, "ram://run", RunOptions(num_steps=2))
        assert (result.step, result.checkpoint) == (2, "ram://run/ckpt-3")
        assert pipeline.load("ram://run/pipeline.config") == config
        assert not Path("ram:").exists()

    @pytest.mark.slow
    def test_another_seed_gives_other_weights(self, records_dir, tmp_path):
        runs = []
        for seed in (5, 6):
            config = records.load(records_dir, f"train_config.seed={seed}")
            runs.append(weights_of(jobs.train(config, tmp_path / str(seed)).checkpoint))
        assert any(np.any(runs[0][key] != runs[1][key]) for key in runs[0])

    @pytest.mark.slow
    def test_first_weights_come_from_a_checkpoint(self, records_dir, tmp_path):
        pretrained = jobs.train(records.load(records_dir), tmp_path / "pretrained").checkpoint
        config = records.load(
            records_dir,
            f"train_config.fine_tune_checkpoint={pretrained}",
            "train_config.fine_tune_checkpoint_type=full",
        )
        run = tmp_path / "run"
        jobs.train(config, run, RunOptions(num_steps=1))
        wanted = weights_of(pretrained)
        for key, value in weights_of(str(run / "ckpt-1")).items():
            np.testing.assert_array_equal(value, wanted[key])
        # A checkpoint in the directory takes precedence over fine_tune_checkpoint.
        Path(f"{pretrained}.index").unlink()
        assert jobs.train(config, run, RunOptions(num_steps=2)).step == 2

    def test_missing_inputs_are_reported_before_training(self, records_dir, tmp_path):
        with pytest.raises(ValueError, match="num_steps is 0, expected at least 1"):
            jobs.train(records.load(records_dir), tmp_path, RunOptions(num_steps=0))
        missing = "train_input_reader.tf_record_input_reader.input_path=nowhere.record"
        with pytest.raises(FileNotFoundError, match=r"nowhere\.record"):
            jobs.train(records.load(records_dir, missing), tmp_path)
        assert not list(tmp_path.iterdir())  # Nothing was written.

    def test_a_corrupt_record_is_named(self, records_dir, tmp_path):
        record = tmp_path / "corrupt.record"
        data = bytearray((records_dir / "train.record").read_bytes())
        data[200] ^= 0xFF
        record.write_bytes(data)
        config = records.load(
            records_dir, f"train_input_reader.tf_record_input_reader.input_path={record}"
        )
        with pytest.raises(
            ValueError, match=r"training step \d failed: .*corrupt\.record"
        ) as error:
            jobs.train(config, tmp_path / "run", RunOptions(num_steps=9))
        assert "{{" not in str(error.value)


@pytest.fixture(scope="module")
def run(records_dir, tmp_path_factory):
    """Checkpoints of steps 0, 2 and 3."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_builder(monkeypatch, tiny)
        jobs.train(records.load(records_dir), directory, RunOptions(checkpoint_every_n=2))
    return directory


@pytest.fixture
def loaded(monkeypatch):
    """The class biases after every load."""
    values = []
    original = loading.load_detector_weights

    def load(detector, prefix, **options):
        report = original(detector, prefix, **options)
        values.append(detector.second_stage.head.predictor.class_head.bias.numpy())
        return report

    monkeypatch.setattr(loading, "load_detector_weights", load)
    return values


class TestEvaluate:
    @pytest.fixture(autouse=True)
    def build_tiny(self, monkeypatch):
        patch_builder(monkeypatch, tiny)

    @pytest.mark.slow
    def test_continuously_until_the_last_step(self, records_dir, run, tmp_path):
        # The newest checkpoint is of step 3, the config's last: no second wait.
        jobs.evaluate(records.load(records_dir), str(run), tmp_path, timeout=600, min_interval=0)
        assert [p.name for p in (tmp_path / "eval/val").glob("*.json")] == ["metrics-3.json"]

    @pytest.mark.slow
    def test_continuously_until_the_timeout(self, records_dir, run, tmp_path):
        config = records.load(records_dir)
        config.eval_input_reader.add().CopyFrom(config.eval_input_reader[0])
        config.eval_input_reader[1].name = "second"
        jobs.evaluate(config, str(run), tmp_path, timeout=0, min_interval=0, num_train_steps=100)
        assert [path.name for path in (tmp_path / "eval").iterdir()] == ["val"]
        assert (tmp_path / "eval/val/metrics-3.json").exists()

    def test_a_second_reader_is_said_to_be_ignored(self, records_dir, tmp_path, caplog):
        config = records.load(records_dir)
        config.eval_input_reader.add().CopyFrom(config.eval_input_reader[0])
        evaluation_builder.build_evaluation(config, tmp_path)
        assert "has 2 eval_input_readers; only the first is evaluated" in caplog.text

    def test_training_data_and_a_sample_of_them(self, records_dir, run, tmp_path):
        config = records.load(records_dir, "train_input_reader.sample_1_of_n_examples=2")
        config.ClearField("eval_input_reader")
        jobs.evaluate(config, str(run), tmp_path, once=True, on_train_data=True)
        written = json.loads((tmp_path / "eval/train/metrics-3.json").read_text())
        assert written["num_images"] == 3

    def test_one_checkpoint_two_examples_no_label_map(self, records_dir, run, tmp_path, loaded):
        config = records.load(
            records_dir,
            "eval_input_reader[0].sample_1_of_n_examples=2",
            "eval_input_reader[0].label_map_path=",
        )
        metrics = jobs.evaluate(config, str(run / "ckpt-2"), tmp_path)
        written = json.loads((tmp_path / "eval/val/metrics-2.json").read_text())
        assert written["num_images"] == 2
        assert "PascalBoxes_PerformanceByCategory/AP@0.5IOU/2" in metrics
        own = tf.train.load_variable(str(run / "ckpt-2"), KEY.format(NAME))
        np.testing.assert_array_equal(loaded[0], own)

    def test_a_checkpoint_that_does_not_exist_is_not_waited_for(self, records_dir, run, tmp_path):
        config = records.load(records_dir)
        with pytest.raises(FileNotFoundError, match=r"no checkpoint .*ckpt-22'; did you mean"):
            jobs.evaluate(config, str(run / "ckpt-22"), tmp_path)

    def test_moving_averages_if_configured(self, records_dir, run, tmp_path, loaded):
        config = records.load(records_dir, "eval_config.use_moving_averages=true")
        jobs.evaluate(config, str(run), tmp_path, once=True)
        reader = tf.train.load_checkpoint(str(run / "ckpt-3"))
        average = reader.get_tensor(f"optimizer/average/{NAME}/.ATTRIBUTES/VARIABLE_VALUE")
        assert np.any(reader.get_tensor(KEY.format(NAME)) != average)
        np.testing.assert_array_equal(loaded[0], average)

    @pytest.mark.slow
    def test_an_interrupted_evaluation_continues(
        self, records_dir, run, tmp_path, monkeypatch, capsys
    ):
        config = records.load(records_dir, "eval_config.num_visualizations=1")
        whole = jobs.evaluate(config, str(run), tmp_path / "whole", once=True)
        make = checkpoint_evaluation.make_infer_fn
        calls = []

        def interrupted(*arguments, at, **options):
            infer = make(*arguments, **options)

            def counted(batch):
                if len(calls) == at:
                    raise KeyboardInterrupt
                calls.append(batch)
                return infer(batch)

            return counted

        for at in (2, None):
            monkeypatch.setattr(
                checkpoint_evaluation, "make_infer_fn", functools.partial(interrupted, at=at)
            )
            with pytest.raises(KeyboardInterrupt) if at else contextlib.nullcontext():
                metrics = jobs.evaluate(config, str(run), tmp_path, once=True)
            assert (tmp_path / "eval/val/metrics-3.json").exists() is (at is None)
        # Three images: two before, one after, and the one that is drawn again.
        assert len(calls) == 4
        assert "it continues after 2 batches" in capsys.readouterr().out
        assert metrics == pytest.approx(whole, nan_ok=True)
        assert "eval_side_by_side_0_0" in events(tmp_path / "eval/val")
        assert not (tmp_path / "eval/val/unfinished.journal").exists()

    def test_no_checkpoint(self, records_dir, tmp_path):
        config = records.load(records_dir)
        with pytest.raises(FileNotFoundError, match="no complete checkpoint appeared"):
            jobs.evaluate(config, str(tmp_path / "later"), tmp_path, timeout=0)
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            jobs.evaluate(config, str(tmp_path / "later"), tmp_path, once=True)


@pytest.mark.usefixtures("linear")
def test_the_best_checkpoint_of_a_training_is_kept(records_dir, tmp_path, monkeypatch):
    values = iter([0.5, 0.25, 0.125])

    class Evaluation:
        """Returns the next value, without a detector."""

        def evaluate(self, prefix):
            return int(tf.train.load_variable(prefix, "step/.ATTRIBUTES/VARIABLE_VALUE")), {
                "PascalBoxes_Precision/mAP@0.5IOU": next(values)
            }

    monkeypatch.setattr(jobs.evaluation_builder, "build_evaluation", lambda *_: Evaluation())
    config = records.load(records_dir, "train_config.num_steps=9")
    options = PeriodicEvaluation(every_n=2, patience=2)
    result = jobs.train(
        config, tmp_path, RunOptions(checkpoint_every_n=1), periodic_evaluation=options
    )
    assert result.step == 6
    best = json.loads((tmp_path / "best" / "best.json").read_text())
    assert (best["step"], best["value"], best["evaluations_since"]) == (2, 0.5, 2)
    assert weights_of(tf.train.latest_checkpoint(str(tmp_path / "best")))
    with pytest.raises(ValueError, match="multiple of --checkpoint_every_n=3"):
        jobs.train(config, tmp_path, RunOptions(checkpoint_every_n=3), periodic_evaluation=options)
    with pytest.raises(ValueError, match="--num_workers=2 is unsupported"):
        jobs.train(
            config,
            tmp_path,
            RunOptions(checkpoint_every_n=1, num_workers=2),
            periodic_evaluation=options,
        )


@pytest.mark.slow
def test_a_mobilenet_is_evaluated_during_training(records_dir, tmp_path):
    config = records.load(records_dir, "train_config.num_steps=2")
    options = PeriodicEvaluation(every_n=1, metric="Loss/total_loss")
    jobs.train(
        config, tmp_path / "with", RunOptions(checkpoint_every_n=1), periodic_evaluation=options
    )
    lines = (tmp_path / "with" / "eval" / "val" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    losses = [json.loads(line)["metrics"]["Loss/total_loss"] for line in lines]
    best = json.loads((tmp_path / "with" / "best" / "best.json").read_text())
    assert best["value"] == pytest.approx(min(losses))
    jobs.train(config, tmp_path / "without", RunOptions(checkpoint_every_n=1))
    first, second = (weights_of(str(tmp_path / name / "ckpt-3")) for name in ("with", "without"))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
