"""Training on examples in memory: resumption, callbacks, tasks, errors."""

import numpy as np
import pytest
import tensorflow as tf

import object_detection_mtl as odm
from object_detection_mtl import jobs
from object_detection_mtl.checkpoints import native
from object_detection_mtl.training.run_options import TrainingResult
from tests import eager
from tests.api import tiny_detectors
from tests.training.linear import LinearDetector

TOTAL = "Loss/total_loss"


def examples(count=4):
    return [
        {
            "image": tiny_detectors.image(number),
            "boxes": [[5, 10, 40, 60]],
            "labels": [1 + number % 2],
        }
        for number in range(count)
    ]


@pytest.fixture
def linear(monkeypatch):
    """The smallest trainable detector in place of the network."""
    monkeypatch.setattr(
        jobs.model_builder, "build", lambda config, is_training: LinearDetector(noise=0.1)
    )
    monkeypatch.setattr(
        native.tf1_detection, "name_map", lambda detector: detector.tf1_variable_names()
    )


class Recorder(odm.TrainingCallback):
    """Keeps the calls; ends the training at a step."""

    def __init__(self, last_step=None):
        self.last_step = last_step
        self.calls = []

    def on_step(self, step, losses):
        self.calls.append(("step", step))
        assert np.isfinite(losses[TOTAL])
        return step == self.last_step

    def on_end(self, result):
        self.calls.append(("end", result.step))


def weights(prefix):
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in sorted(names)}


def train(directory, num_steps, **options):
    options = {"train": examples(), "class_names": ["square", "stripe"], **options}
    return odm.train_detector(
        tiny_detectors.config(), directory, num_steps=num_steps, log_every_n=1, **options
    )


@pytest.mark.long
def test_a_resumed_training_equals_an_uninterrupted_one(linear, tmp_path):
    whole = train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    parts = train(tmp_path / "parts", 4)
    assert whole.step == parts.step == 4
    expected, found = weights(whole.checkpoint), weights(parts.checkpoint)
    assert set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    assert (tmp_path / "whole" / "pipeline.config").is_file()


@pytest.mark.parametrize("chosen", [None, True, False])
def test_mixed_precision_is_a_field_of_the_config(chosen, tmp_path, monkeypatch):
    result = TrainingResult(1, "ckpt-1", {})
    monkeypatch.setattr(jobs, "train", lambda config, *_, **__: result)
    config = tiny_detectors.config()
    config.train_config.use_bfloat16 = chosen is False
    config.train_input_reader.tf_record_input_reader.input_path[:] = ["a.record"]
    before = config.train_config.use_bfloat16
    run = odm.train_detector(config, tmp_path, mixed_precision=chosen)
    assert run.config.train_config.use_bfloat16 is bool(chosen)
    assert config.train_config.use_bfloat16 is before


def test_callbacks_see_steps_and_end_the_training(linear, tmp_path, capsys):
    recorder = Recorder(last_step=2)
    run = train(tmp_path, 5, callbacks=[recorder])
    assert run.step == 2
    assert recorder.calls == [("step", 1), ("step", 2), ("end", 2)]
    assert "stopped early: a callback ended the training" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": [object()]}, "none of the methods on_step"),
        ({"patience": 2}, "need evaluations; give validation"),
        ({"evaluate_every_n": 3, "checkpoint_every_n": 2}, "give a multiple"),
        ({"num_workers": 2}, "several workers train on record files only"),
        ({"train": None}, "placeholder of a sample; give the dataset"),
        ({"class_names": "cat"}, "class_names is the text"),
    ],
)
def test_wrong_arguments_are_one_clear_error(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", 1, **options)
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_the_placeholder_of_the_first_weights_is_named(tmp_path):
    config = odm.load_config("faster_rcnn_mobilenet_v1_mtl_voc07", num_classes=2)
    with pytest.raises(ValueError, match="fine_tune_checkpoint=path"):
        odm.train_detector(config, tmp_path, train=examples())


@pytest.mark.slow
def test_a_detector_with_tasks_trains_evaluates_and_detects(tmp_path):
    config = odm.load_config(
        "faster_rcnn_mobilenet_v1_mtl_voc07",
        [*tiny_detectors.SMALL, "model.mtl.num_windows=4"],
        num_classes=2,
        min_dimension=64,
        max_dimension=96,
        fine_tune_checkpoint=None,
    )
    detector = odm.build_detector(config, class_names=["square", "stripe"])
    metrics = []

    class Metrics:
        def on_evaluation(self, step, values):
            metrics.append((step, values))

    run = odm.train_detector(
        detector,
        tmp_path,
        train=examples(),
        validation=examples(1),
        num_steps=3,
        evaluate_every_n=2,
        callbacks=[Metrics()],
    )
    assert [step for step, _ in metrics] == [2, 3]
    assert run.metrics == metrics[-1][1]
    assert "mtl/window_map" in run.metrics
    assert {"Loss/MTL/window_class_loss", "Loss/MTL/edgemask_loss"} <= set(run.losses)
    image = examples()[0]["image"]
    found = detector.predict(image)
    np.testing.assert_allclose(run.detector.predict(image).scores, found.scores, atol=1e-5)
    assert odm.load_detector(tmp_path / "best").class_names == {1: "square", 2: "stripe"}
    # A trained detector starts another training with its weights.
    with eager.eagerly():
        odm.train_detector(
            detector, tmp_path / "again", train=examples(), num_steps=1, checkpoint_every_n=1
        )
    first = weights(f"{tmp_path}/again/ckpt-1")  # of step 0
    expected = weights(run.checkpoint)
    for name, value in first.items():
        np.testing.assert_array_equal(value, expected[name])
