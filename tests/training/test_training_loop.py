"""Whole runs of the smallest model: checkpoints, resume, summaries, interruption."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training import training_loop
from object_detection_mtl.training.optimizers import Adam, Momentum
from object_detection_mtl.training.run_options import LoopOptions
from tests.training.linear import dataset, image, make_model
from tests.training.loop_runs import (
    assert_same_state,
    checkpoint_steps,
    scalars,
    scheduled,
    state,
    train,
)

pytestmark = pytest.mark.usefixtures("linear_names")


def test_checkpoints_end_where_the_run_ends(tmp_path, capsys):
    result, _, starts = train(tmp_path, 7, checkpoint_every_n=3, log_every_n=2)
    assert checkpoint_steps(tmp_path) == {"ckpt-1": 0, "ckpt-2": 3, "ckpt-3": 6, "ckpt-4": 7}
    assert (result.step, result.checkpoint) == (7, str(tmp_path / "ckpt-4"))
    assert result.interrupted_by is None
    assert starts == [0]
    output = capsys.readouterr().out
    assert "step 2/7  loss" in output
    assert "images/s" in output
    assert "left" in output
    assert "finished at step 7; newest checkpoint" in output
    assert "steps/sec" not in output  # Orbit's own lines


def test_a_checkpoint_is_not_written_twice_and_old_ones_go(tmp_path):
    train(tmp_path, 6, checkpoint_every_n=1, max_to_keep=2)
    assert checkpoint_steps(tmp_path) == {"ckpt-6": 5, "ckpt-7": 6}


def test_tensorboard_has_the_od_apis_names(tmp_path):
    result, _, _ = train(tmp_path, 6, log_every_n=3, model=lambda: make_model(rate=0.0))
    found = scalars(tmp_path)
    assert set(found) == {
        "Loss/RPNLoss/localization_loss",
        "Loss/BoxClassifierLoss/classification_loss",
        "Loss/regularization_loss",
        "Loss/total_loss",
        "UnweightedLoss/RPNLoss/localization_loss",
        "UnweightedLoss/BoxClassifierLoss/classification_loss",
        "gradient_norm",
        "input_wait",
        "learning_rate",
        "steps_per_sec",
        "train_input_images",
    }
    # Images 0..4 have w.x = 1.5, 2, 2.5, 3, 3.5; a block is three batches of two of them.
    losses = np.array([1.5, 2.0, 2.5, 3.0, 3.5]) ** 2 / 2
    means = [np.mean(losses[[0, 1, 2, 3, 4, 0]]), np.mean(losses[[1, 2, 3, 4, 0, 1]])]
    unweighted = found["UnweightedLoss/RPNLoss/localization_loss"]
    assert unweighted == pytest.approx({3: means[0], 6: means[1]})
    assert found["Loss/total_loss"] == pytest.approx({3: 2 * means[0] + 0.5, 6: 2 * means[1] + 0.5})
    assert result.metrics["Loss/total_loss"] == pytest.approx(2 * means[1] + 0.5)
    # An image summary holds width, height and the images.
    assert found["train_input_images"] == {3: 2 + 2, 6: 2 + 2}


def test_the_time_that_steps_wait_for_their_batch(tmp_path):
    def slow(batch_size, start_example):
        def wait(value):
            time.sleep(0.2)
            return value

        def delayed(batch):
            value = tf.numpy_function(wait, [batch[Batch.inputs]], tf.float32)
            return {**batch, Batch.inputs: tf.ensure_shape(value, batch[Batch.inputs].shape)}

        return dataset(batch_size, start_example).map(delayed)

    result, _, _ = train(tmp_path / "slow", 4, log_every_n=2, data=slow)
    assert result.metrics["input_wait"] > 0.5
    assert scalars(tmp_path / "slow")["input_wait"].keys() == {2, 4}


def test_learning_rate_and_no_images(tmp_path):
    train(tmp_path, 6, log_every_n=1, record_summaries=False)
    found = scalars(tmp_path)
    expected = {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.01, 5: 0.01, 6: 0.01}
    assert found["learning_rate"] == pytest.approx(expected)
    assert "train_input_images" not in found


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (Momentum, {}),
        (Adam, {}),
        pytest.param(Momentum, {"num_micro_batches": 2}, marks=pytest.mark.slow),
    ],
)
def test_resuming_is_the_uninterrupted_run(tmp_path, optimizer, options):
    def model():
        return make_model({"noise": 0.1}, optimizer=scheduled(optimizer), seed=3, **options)

    _, whole, _ = train(tmp_path / "whole", 9, model=model)
    train(tmp_path / "parts", 4, model=model)
    _, _, starts = train(tmp_path / "parts", 6, model=model)
    assert starts == [8]
    result, parts, starts = train(tmp_path / "parts", 9, model=model)
    assert starts == [12]
    assert result.step == 9
    assert_same_state(state(parts), state(whole))
    assert int(parts.optimizer.iterations.numpy()) == 9  # One update a step, which schedules count.
    assert checkpoint_steps(tmp_path / "parts") == {
        "ckpt-1": 0,
        "ckpt-2": 4,
        "ckpt-3": 6,
        "ckpt-4": 9,
    }


CORRUPT_NUMBERS = (0, 3, 6, 7)


def dataset_that_skips(batch_size, start_example):
    """Images by number, without those of CORRUPT_NUMBERS, which are counted."""

    def batches():
        number, skipped, rows = start_example, 0, []
        while True:
            if number in CORRUPT_NUMBERS:
                skipped += 1
            else:
                rows.append((number, skipped))
                skipped = 0
            number += 1
            if len(rows) == batch_size:
                yield {
                    Batch.inputs: np.stack([image(row % 5) for row, _ in rows]),
                    Batch.true_image_shapes: np.array([[2, 2, 3]] * batch_size, np.int32),
                    Batch.example_number: np.array([row for row, _ in rows]),
                    Batch.issues: np.array([[before, 0, 0, 1, 0] for _, before in rows]),
                }
                rows = []

    spec = {
        Batch.inputs: tf.TensorSpec([batch_size, None, None, 3], tf.float32),
        Batch.true_image_shapes: tf.TensorSpec([batch_size, 3], tf.int32),
        Batch.example_number: tf.TensorSpec([batch_size], tf.int64),
        Batch.issues: tf.TensorSpec([batch_size, 5], tf.int64),
    }
    return tf.data.Dataset.from_generator(batches, output_signature=spec)


def test_resuming_with_skipped_examples_is_the_uninterrupted_run(tmp_path, capsys):
    whole_result, whole, _ = train(tmp_path / "whole", 6, data=dataset_that_skips, log_every_n=2)
    assert whole_result.skipped_examples == 4
    output = capsys.readouterr().out
    notes = [line for line in output.splitlines() if "corrupt examples skipped" in line]
    assert "2 corrupt examples skipped; 4 boxes above max_number_of_boxes dropped" in notes[0]
    assert "finished at step 6" in notes[-1]
    assert "4 corrupt examples skipped; 12 boxes" in notes[-1]
    assert scalars(tmp_path / "whole")["skipped_corrupt_examples"] == {2: 2, 4: 4, 6: 4}

    train(tmp_path / "parts", 2, data=dataset_that_skips)  # Consumes 0 to 5.
    _, _, starts = train(tmp_path / "parts", 3, data=dataset_that_skips)
    assert starts == [6]
    result, parts, starts = train(tmp_path / "parts", 6, data=dataset_that_skips)
    assert starts == [10]
    assert result.skipped_examples == 4
    assert_same_state(state(parts), state(whole))


def test_only_a_new_run_is_initialized(tmp_path):
    def initialize(detector):
        detector.w.assign([5.0, 5.0, 5.0])

    def still():
        return make_model(rate=0.0)

    _, model, _ = train(tmp_path, 1, initialize=initialize, model=still)
    np.testing.assert_array_equal(model.detector.w, [5.0, 5.0, 5.0])

    def never(_):
        raise AssertionError("a run that continues has its weights")

    _, model, _ = train(tmp_path, 2, initialize=never, model=still)
    np.testing.assert_array_equal(model.detector.w, [5.0, 5.0, 5.0])


def test_a_finished_run_has_nothing_to_do(tmp_path, capsys):
    train(tmp_path, 3)
    before = checkpoint_steps(tmp_path)
    result, _, starts = train(tmp_path, 3)
    assert (result.step, result.metrics, starts) == (3, {}, [])
    assert result.checkpoint == str(tmp_path / "ckpt-2")
    assert checkpoint_steps(tmp_path) == before
    assert "nothing to do" in capsys.readouterr().out


def test_images_of_all_sizes_compile_once(tmp_path, monkeypatch):
    trainers = []
    original = training_loop.DetectionTrainer.__init__

    def remember(self, *args, **kwargs):
        trainers.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(training_loop.DetectionTrainer, "__init__", remember)
    train(tmp_path, 8, data=lambda b, s: dataset(b, s, sizes=(2, 3, 5, 8)), log_every_n=3)
    assert trainers[0].trace_count == 1


def test_ctrl_c_saves_and_the_same_command_continues(tmp_path, capsys):
    def interrupted(batch_size, start_example):
        # Batches are made ahead of the steps; the signal comes in some early step.
        return dataset(batch_size, start_example).map(
            lambda batch: {
                **batch,
                Batch.inputs: tf.ensure_shape(
                    tf.numpy_function(raise_at_fifth, [batch[Batch.inputs]], tf.float32),
                    [2, None, None, 3],
                ),
            }
        )

    calls = []

    def raise_at_fifth(inputs):
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return inputs

    handler = signal.getsignal(signal.SIGINT)
    result, _, _ = train(tmp_path / "run", 400, data=interrupted, checkpoint_every_n=1000)
    assert signal.getsignal(signal.SIGINT) is handler
    assert result.interrupted_by == signal.SIGINT
    assert 0 < result.step < 400
    assert checkpoint_steps(tmp_path / "run") == {"ckpt-1": 0, "ckpt-2": result.step}
    captured = capsys.readouterr()
    assert "SIGINT: saving a checkpoint after this step" in captured.err
    assert f"stopped at step {result.step} of 400, saved as" in captured.out
    end = result.step + 3
    _, continued, _ = train(tmp_path / "run", end)
    _, whole, _ = train(tmp_path / "whole", end)
    assert_same_state(state(continued), state(whole))


def test_a_run_from_before_the_counters_is_continued(tmp_path, monkeypatch, uninterrupted):
    with monkeypatch.context() as patch:
        original = training_loop.RunCheckpoints
        patch.setattr(
            training_loop, "RunCheckpoints", lambda *a, **k: original(*a, **{**k, "counters": None})
        )
        train(tmp_path / "run", 3)
    assert "counters" not in str(tf.train.list_variables(str(tmp_path / "run")))
    _, model, starts = train(tmp_path / "run", 5)
    assert starts == [6]
    assert_same_state(state(model), uninterrupted[5])


@pytest.mark.parametrize("name", ["num_steps", "checkpoint_every_n", "log_every_n"])
def test_numbers_out_of_range(name):
    with pytest.raises(ValueError, match=f"{name} is 0, expected at least 1"):
        LoopOptions(**{"num_steps": 1, name: 0})


def test_what_is_called_with_a_checkpoint_can_end_the_run(tmp_path, capsys):
    called = []

    def on_checkpoint(step, prefix):
        called.append((step, Path(prefix).name))
        return step == 4

    result, _, _ = train(tmp_path, 9, checkpoint_every_n=2, on_checkpoint=on_checkpoint)
    assert called == [(2, "ckpt-2"), (4, "ckpt-3")]
    assert (result.step, result.checkpoint) == (4, str(tmp_path / "ckpt-3"))
    assert result.interrupted_by is None
    assert "stopped early" in capsys.readouterr().out
