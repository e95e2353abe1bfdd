"""Training from a config, on record files, and what is evaluated of it."""

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.builders import evaluation_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.config import pipeline
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.reporting.checkpoint_report import ReportRequest
from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation
from object_detection_mtl.training.run_options import RunOptions
from tests import eager, records, tiny_backbone
from tests.evaluation.test_metrics_output import events
from tests.job_detectors import BIASES, KEY, patch_builder, weights_of
from tests.training.linear import LinearDetector

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


def patch_linear(monkeypatch):
    """Build the smallest trainable detector."""
    patch_builder(monkeypatch, lambda config, is_training=False: LinearDetector(noise=0.1))
    monkeypatch.setattr(
        native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
    )


@pytest.fixture
def linear(monkeypatch):
    patch_linear(monkeypatch)


@pytest.fixture
def tiny_type(monkeypatch):
    """A backbone of two convolutions for the config."""
    tiny_backbone.register(monkeypatch)


@pytest.fixture(scope="module")
def linear_run(records_dir, tmp_path_factory):
    """The directory of a training of the smallest detector: three steps, seed 5."""
    directory = tmp_path_factory.mktemp("linear")
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_linear(monkeypatch)
        jobs.train(records.load(records_dir), directory)
    return directory


@pytest.mark.slow
def test_a_mobilenet_trains_and_is_evaluated(records_dir, tmp_path, capsys):
    config = records.load(records_dir, "train_config.num_steps=2")
    result = jobs.train(config, tmp_path, RunOptions(log_every_n=1))
    assert result.step == 2
    assert result.checkpoint == str(tmp_path / "ckpt-2")
    assert np.isfinite(result.metrics["Loss/total_loss"])
    assert pipeline.load(tmp_path / "pipeline.config") == config
    first, last = weights_of(str(tmp_path / "ckpt-1")), weights_of(result.checkpoint)
    assert np.any(first[KEY.format(BIASES)] != last[KEY.format(BIASES)])
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
@pytest.mark.usefixtures("tiny_type")
def test_a_run_with_all_tasks_draws_their_predictions(records_dir, tmp_path):
    tasks = [f"model.mtl.{task}=true" for task in ("window", "closeness", "edgemask", "refine")]
    weights = [
        f"model.mtl.{loss}_weight=1.0"
        for loss in ("window_class_loss", "closeness_loss", "edgemask_loss")
    ]
    kernel = "model.mtl.edgemask_predictor.kernel_size=1"
    config = records.load(
        records_dir, "train_config.num_steps=1", *tasks, *weights, kernel, tiny_backbone.OVERRIDE
    )
    with eager.eagerly():
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
@pytest.mark.usefixtures("tiny_type")
def test_proposals_are_evaluated_as_one_class_during_training(records_dir, tmp_path):
    """The evaluations change nothing of the training."""
    config = records.load(
        records_dir,
        "train_config.num_steps=2",
        "model.faster_rcnn.number_of_stages=1",
        tiny_backbone.OVERRIDE,
    )
    options = PeriodicEvaluation(every_n=1, metric="Loss/total_loss")
    jobs.train(
        config, tmp_path / "with", RunOptions(checkpoint_every_n=1), periodic_evaluation=options
    )
    lines = (tmp_path / "with" / "eval" / "val" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    evaluations = [json.loads(line)["metrics"] for line in lines]
    for metrics in evaluations:
        assert {name for name in metrics if name.startswith("Pascal")} == {
            "PascalBoxes_Precision/mAP@0.5IOU",
            "PascalBoxes_PerformanceByCategory/AP@0.5IOU/object",
        }
    written = json.loads((tmp_path / "with" / "eval" / "val" / "metrics-2.json").read_text())
    assert written["num_groundtruth"] > 0
    assert written["num_detections"] > 0
    best = json.loads((tmp_path / "with" / "best" / "best.json").read_text())
    losses = [metrics["Loss/total_loss"] for metrics in evaluations]
    assert best["value"] == pytest.approx(min(losses))
    jobs.train(config, tmp_path / "without", RunOptions(checkpoint_every_n=1))
    first, second = (weights_of(str(tmp_path / name / "ckpt-3")) for name in ("with", "without"))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


@pytest.mark.slow
@pytest.mark.usefixtures("linear")
def test_labels_of_the_tasks_that_are_on(records_dir, tmp_path, monkeypatch):
    """The labels reach the losses of training and of evaluation."""
    specs = []

    def watch(*arguments, **keywords):
        made = build_pipeline(*arguments, **keywords)
        specs.append(made.dataset.element_spec)
        return made

    build_pipeline = jobs.input_reader_builder.build_pipeline
    monkeypatch.setattr(jobs.input_reader_builder, "build_pipeline", watch)
    tasks = ("model.mtl.closeness=true", "model.mtl.window=true", "model.mtl.num_windows=5")
    config = records.load(records_dir, "train_config.num_steps=1", *tasks)
    jobs.train(config, tmp_path)
    evaluation = mock.Mock(**{"return_value.evaluate.return_value": (1, {})})
    monkeypatch.setattr(evaluation_builder, "CheckpointEvaluation", evaluation)
    jobs.evaluate(config, str(tmp_path), tmp_path, once=True)
    assert len(specs) == 2
    expected = {
        Groundtruth.closeness: [None, 3],
        Groundtruth.window_boxes: [5, 4],
        Groundtruth.window_classes: [5, 3],
        Groundtruth.num_windows: [],
    }
    for spec in specs:
        assert {key: spec[key].shape[1:].as_list() for key in spec.keys() & LABELS} == expected


@pytest.mark.usefixtures("linear")
class TestTrain:
    @pytest.mark.slow
    def test_a_resumed_run_equals_an_uninterrupted_run(self, records_dir, linear_run, tmp_path):
        config = records.load(records_dir)
        jobs.train(config, tmp_path, RunOptions(num_steps=2))
        resumed = jobs.train(config, tmp_path)
        assert resumed.step == 3
        wanted = weights_of(tf.train.latest_checkpoint(str(linear_run)))
        for key, value in weights_of(resumed.checkpoint).items():
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
    def test_another_seed_gives_other_weights(self, records_dir, linear_run, tmp_path):
        config = records.load(records_dir, "train_config.seed=6")
        first = weights_of(tf.train.latest_checkpoint(str(linear_run)))
        second = weights_of(jobs.train(config, tmp_path).checkpoint)
        assert any(np.any(first[key] != second[key]) for key in first)

    @pytest.mark.slow
    def test_first_weights_come_from_a_checkpoint(self, records_dir, linear_run, tmp_path):
        shutil.copytree(linear_run, tmp_path / "pretrained")
        pretrained = tf.train.latest_checkpoint(str(tmp_path / "pretrained"))
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
