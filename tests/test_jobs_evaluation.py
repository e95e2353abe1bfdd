"""Evaluation of checkpoints from a config, on record files."""

import contextlib
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.builders import evaluation_builder
from object_detection_mtl.checkpoints import loading
from object_detection_mtl.evaluation import checkpoint_evaluation
from object_detection_mtl.training.run_options import RunOptions
from tests import eager, records
from tests.evaluation.test_metrics_output import events
from tests.job_detectors import BIASES, KEY, patch_builder, tiny


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records.write(path)
    return path


@pytest.fixture(scope="module")
def run(records_dir, tmp_path_factory):
    """Checkpoints of steps 0, 2 and 3."""
    directory = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_builder(monkeypatch, tiny)
        with eager.eagerly():
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


@pytest.fixture(autouse=True)
def build_tiny(monkeypatch):
    """The smallest detector, without its graph: most tests evaluate three images."""
    patch_builder(monkeypatch, tiny)
    with eager.eagerly():
        yield


@pytest.mark.slow
def test_continuously_until_the_last_step(records_dir, run, tmp_path):
    # The newest checkpoint is of step 3, the config's last: no second wait.
    jobs.evaluate(records.load(records_dir), str(run), tmp_path, timeout=600, min_interval=0)
    assert [p.name for p in (tmp_path / "eval/val").glob("*.json")] == ["metrics-3.json"]


@pytest.mark.slow
def test_continuously_until_the_timeout(records_dir, run, tmp_path):
    config = records.load(records_dir)
    config.eval_input_reader.add().CopyFrom(config.eval_input_reader[0])
    config.eval_input_reader[1].name = "second"
    jobs.evaluate(config, str(run), tmp_path, timeout=0, min_interval=0, num_train_steps=100)
    assert [path.name for path in (tmp_path / "eval").iterdir()] == ["val"]
    assert (tmp_path / "eval/val/metrics-3.json").exists()


def test_a_second_reader_is_said_to_be_ignored(records_dir, tmp_path, caplog):
    config = records.load(records_dir)
    config.eval_input_reader.add().CopyFrom(config.eval_input_reader[0])
    evaluation_builder.build_evaluation(config, tmp_path)
    assert "has 2 eval_input_readers; only the first is evaluated" in caplog.text


def test_training_data_and_a_sample_of_them(records_dir, run, tmp_path):
    config = records.load(records_dir, "train_input_reader.sample_1_of_n_examples=2")
    config.ClearField("eval_input_reader")
    jobs.evaluate(config, str(run), tmp_path, once=True, on_train_data=True)
    written = json.loads((tmp_path / "eval/train/metrics-3.json").read_text())
    assert written["num_images"] == 3


def test_one_checkpoint_two_examples_no_label_map(records_dir, run, tmp_path, loaded):
    config = records.load(
        records_dir,
        "eval_input_reader[0].sample_1_of_n_examples=2",
        "eval_input_reader[0].label_map_path=",
    )
    metrics = jobs.evaluate(config, str(run / "ckpt-2"), tmp_path)
    written = json.loads((tmp_path / "eval/val/metrics-2.json").read_text())
    assert written["num_images"] == 2
    assert "PascalBoxes_PerformanceByCategory/AP@0.5IOU/2" in metrics
    own = tf.train.load_variable(str(run / "ckpt-2"), KEY.format(BIASES))
    np.testing.assert_array_equal(loaded[0], own)


def test_a_checkpoint_that_does_not_exist_is_not_waited_for(records_dir, run, tmp_path):
    config = records.load(records_dir)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*ckpt-22'; did you mean"):
        jobs.evaluate(config, str(run / "ckpt-22"), tmp_path)


def test_moving_averages_if_configured(records_dir, run, tmp_path, loaded):
    config = records.load(records_dir, "eval_config.use_moving_averages=true")
    jobs.evaluate(config, str(run), tmp_path, once=True)
    reader = tf.train.load_checkpoint(str(run / "ckpt-3"))
    average = reader.get_tensor(f"optimizer/average/{BIASES}/.ATTRIBUTES/VARIABLE_VALUE")
    assert np.any(reader.get_tensor(KEY.format(BIASES)) != average)
    np.testing.assert_array_equal(loaded[0], average)


@pytest.mark.slow
def test_an_interrupted_evaluation_continues(records_dir, run, tmp_path, monkeypatch, capsys):
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


def test_no_checkpoint(records_dir, tmp_path):
    config = records.load(records_dir)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint appeared"):
        jobs.evaluate(config, str(tmp_path / "later"), tmp_path, timeout=0)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        jobs.evaluate(config, str(tmp_path / "later"), tmp_path, once=True)
