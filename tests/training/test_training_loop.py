"""Whole runs of the smallest model: checkpoints, resume, summaries, interruption, failures."""

import functools
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training import training_loop
from object_detection_mtl.training.failures import NonFiniteError, TrainingDataError
from object_detection_mtl.training.optimizers import Adam, Momentum
from object_detection_mtl.training.run_options import LoopOptions
from object_detection_mtl.training.schedules import Schedule
from tests.checkpoints.test_checkpoint_search import DAMAGE, STATE_DAMAGE
from tests.training.linear import dataset, image, make_model

pytestmark = pytest.mark.usefixtures("linear_names")


def scheduled(optimizer=Momentum):
    """0.1, then 0.01 from step 4 on; momentum; moving averages."""
    schedule = Schedule("manual_steps", boundaries=[4], learning_rates=[0.1, 0.01])
    options = {"momentum": 0.9} if optimizer is Momentum else {}
    return optimizer(schedule, use_ema=True, ema_momentum=0.9, **options)


def train(
    model_dir,
    num_steps,
    *,
    data=dataset,
    initialize=lambda _: None,
    model=None,
    on_checkpoint=None,
    **options,
):
    """Runs the loop; returns (result, the model, start examples asked for)."""
    made, starts = [], []

    def make():
        made.append(model() if model else make_model({"noise": 0.1}, optimizer=scheduled(), seed=3))
        return made[0]

    def make_dataset(detector, context, batch_size, start_example):
        assert detector is made[0].detector
        assert context.num_input_pipelines == 1
        starts.append(start_example)
        return data(batch_size, start_example)

    result = training_loop.run_training(
        model_dir,
        strategy=tf.distribute.MirroredStrategy(["/cpu:0"]),
        make_model=make,
        initialize=initialize,
        make_dataset=make_dataset,
        batch_size=2,
        options=LoopOptions(num_steps, **options),
        on_checkpoint=on_checkpoint,
    )
    return result, made[0], starts


def state(model):
    """Every number of a run."""
    variables = [*model.detector.variables, *model.optimizer.variables]
    return [variable.numpy() for variable in variables]


def assert_same_state(found, expected):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, linear_names):
    """The state of an uninterrupted run after each of nine steps: {step: state}."""
    models, states = [], {}

    def model():
        models.append(make_model({"noise": 0.1}, optimizer=scheduled(), seed=3))
        return models[-1]

    def record(step, _):
        states[step] = state(models[-1])
        return False

    directory = tmp_path_factory.mktemp("uninterrupted")
    train(directory, 9, model=model, checkpoint_every_n=1, on_checkpoint=record)
    return states


@pytest.fixture(scope="module")
def copy_run(tmp_path_factory, linear_names):
    """Return a function that gives a directory the files of a run, made once for all tests."""

    @functools.cache
    def made(num_steps, checkpoint_every_n):
        directory = tmp_path_factory.mktemp("made")
        train(directory, num_steps, checkpoint_every_n=checkpoint_every_n)
        return directory

    def copy(directory, num_steps, checkpoint_every_n=1000):
        shutil.copytree(made(num_steps, checkpoint_every_n), directory)

    return copy


def checkpoint_steps(model_dir):
    """Name of each checkpoint -> step in it."""
    return {
        Path(prefix).name: int(tf.train.load_variable(prefix, "step/.ATTRIBUTES/VARIABLE_VALUE"))
        for prefix in (str(path)[: -len(".index")] for path in Path(model_dir).glob("*.index"))
    }


def scalars(model_dir):
    """TensorBoard tag -> {step: value}; of images their shape."""
    found = {}
    for path in sorted(Path(model_dir, "train").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                number = array.size if array.dtype == object else float(array)
                found.setdefault(value.tag, {})[event.step] = number
    return found


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


def spoiled(*steps, value=np.nan):
    """Data whose batches of these steps, counted from 1, are NaN."""

    def make(batch_size, start_example):
        first = start_example // batch_size + 1
        bad = tf.constant(steps, tf.int64)
        return (
            dataset(batch_size, start_example)
            .enumerate(first)
            .map(
                lambda number, batch: {
                    **batch,
                    Batch.inputs: batch[Batch.inputs]
                    * tf.where(tf.reduce_any(bad == number), value, 1.0),
                }
            )
        )

    return make


def averaging(**options):
    """A model whose forward pass updates a moving average, as batch norm does."""

    def make():
        model = make_model({"noise": 0.1, "averages": True}, optimizer=scheduled(), seed=3)
        return model

    return {"model": make, **options}


@pytest.mark.parametrize("kind", [{}, averaging()], ids=["plain", "averaging"])
def test_a_non_finite_loss_names_term_and_images_and_keeps_the_steps_before(tmp_path, kind):
    _, before, _ = train(tmp_path / "before", 4, **kind)
    says = r"became NaN or infinite in training step 5\b.*Its images: 3, 4. Its batch is saved as "
    for _ in range(2):  # The second time nothing is left to save.
        with pytest.raises(NonFiniteError, match=says) as e:
            train(tmp_path / "run", 9, data=spoiled(5), checkpoint_every_n=3, **kind)
        assert "learning rate is too high" in str(e.value)
        assert f"The 4 steps before are saved as {tmp_path}/run/ckpt-3;" in str(e.value)
        assert "--skip_nonfinite_steps=N skips" in str(e.value)
        assert checkpoint_steps(tmp_path / "run") == {"ckpt-1": 0, "ckpt-2": 3, "ckpt-3": 4}
    with np.load(tmp_path / "run/nonfinite_step_5.npz") as saved:
        assert list(saved[Batch.image_id]) == [b"3", b"4"]
        assert np.isnan(saved[Batch.inputs]).all()
    _, model, _ = train(tmp_path / "run", 4, **kind)
    assert_same_state(state(model), state(before))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "value"),
    [({}, np.inf), pytest.param(averaging(), np.nan, marks=pytest.mark.long)],
    ids=["plain", "averaging"],
)
def test_skipped_steps_change_nothing_and_are_counted(tmp_path, kind, value, capsys):
    def at(data, num_steps, model_dir, **options):
        result, model, _ = train(
            tmp_path / model_dir, num_steps, data=data, log_every_n=1, **kind, **options
        )
        return result, model

    _, before = at(dataset, 3, "run")
    result, skipping = at(spoiled(4, 5, value=value), 5, "run", skip_nonfinite_steps=2)
    assert (result.step, result.skipped_steps) == (5, 2)
    for got, wanted in zip(state(skipping), state(before), strict=True):
        if got.ndim:  # All but the counted steps, and the rate that follows from them.
            np.testing.assert_array_equal(got, wanted)
    output = capsys.readouterr().out
    assert "step 4 is skipped" in output
    assert "(1 of 2 allowed). Its images: 1, 2." in output
    assert "; 2 steps skipped (NaN or infinite)" in output
    assert scalars(tmp_path / "run")["skipped_nonfinite_steps"] == {4: 1.0, 5: 2.0}
    # Resuming is the uninterrupted run; the steps of earlier commands count.
    data = spoiled(4, 5, 7, value=value)
    _, parts = at(data, 8, "run", skip_nonfinite_steps=3)
    _, whole = at(data, 8, "whole", skip_nonfinite_steps=3)
    assert_same_state(state(parts), state(whole))
    with pytest.raises(NonFiniteError, match=r"step 9\b.* 3 steps were skipped before"):
        at(spoiled(9), 9, "run", skip_nonfinite_steps=3)
    result, _ = at(dataset, 9, "run")
    assert result.skipped_steps == 3


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


def test_a_loss_that_explodes_is_warned_of_once(tmp_path, caplog):
    def fast():
        return make_model(rate=30.0)

    train(tmp_path, 8, model=fast, log_every_n=1)
    assert caplog.text.count("Training seems to diverge") == 1


def test_a_directory_that_cannot_be_written_to_is_refused_before_the_model_is_made(tmp_path):
    def never():
        raise AssertionError("no model is needed")

    with pytest.raises(ValueError, match="model_dir '/proc/run' cannot be written to"):
        train("/proc/run", 1, model=never)


def test_data_that_end_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="the training data ended in step 3"):
        train(tmp_path, 9, data=lambda b, s: dataset(b, s).take(2))


def test_a_broken_example_loses_no_step(tmp_path, uninterrupted):
    def broken(batch_size, start_example, last=4):
        def check(number, batch):
            fine = number <= last
            with tf.control_dependencies([tf.debugging.Assert(fine, ["broken:", "a.jpg"])]):
                return tf.nest.map_structure(tf.identity, batch)

        batches = dataset(batch_size, start_example)
        return batches.enumerate(start_example // batch_size + 1).map(check)

    says = rf"step 5 failed: broken: a.jpg. The 4 steps before are saved as {tmp_path}/ckpt-2;"
    for _ in range(2):  # The second time nothing is left to save.
        with pytest.raises(TrainingDataError, match=says):
            train(tmp_path, 9, data=broken)
        assert checkpoint_steps(tmp_path) == {"ckpt-1": 0, "ckpt-2": 4}
    _, model, _ = train(tmp_path, 9)
    assert_same_state(state(model), uninterrupted[9])


def test_a_broken_first_example(tmp_path):
    def broken(batch_size, start_example):
        def check(batch):
            with tf.control_dependencies([tf.debugging.Assert(False, ["broken:", "a.jpg"])]):
                return tf.nest.map_structure(tf.identity, batch)

        return dataset(batch_size, start_example).map(check)

    with pytest.raises(TrainingDataError, match=r"step 1 failed: broken: a.jpg. No step was done"):
        train(tmp_path, 9, data=broken)


def test_what_is_refused_leaves_no_trace(tmp_path):
    def no_data(batch_size, start_example):
        raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        train(tmp_path, 9, data=no_data)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path, 1)

    def of_size_2():
        return make_model({"size": 2}, optimizer=scheduled())

    with pytest.raises(
        ValueError, match=r"/weights: \[3\] in the checkpoint, \[2\] in.*another --model_dir"
    ):
        train(tmp_path, 2, model=of_size_2)
    with pytest.raises(
        ValueError, match=r"velocity/.*: missing in the checkpoint, \[1\] in the model"
    ):
        train(tmp_path, 2, model=lambda: make_model(optimizer=scheduled(Adam)))
    with pytest.raises(
        ValueError, match=r"average/.*: \[1\] in the checkpoint, missing in the model"
    ):
        train(tmp_path, 2, model=make_model)


# tests/checkpoints/test_checkpoint_search.py has all kinds of damage.
@pytest.mark.parametrize("kind", ["data with a flipped bit", "index missing", "all files missing"])
def test_a_damaged_newest_checkpoint_costs_the_steps_after_the_one_before(
    tmp_path, kind, capsys, copy_run, uninterrupted
):
    copy_run(tmp_path / "run", 4, checkpoint_every_n=2)
    DAMAGE[kind](str(tmp_path / "run/ckpt-3"))
    there = {path.name for path in (tmp_path / "run").glob("ckpt-3.*")}
    with pytest.raises(ValueError, match="newest checkpoint is corrupt: .*ckpt-3"):
        train(tmp_path / "run", 6, on_damaged_checkpoint="fail")
    assert {path.name for path in (tmp_path / "run").glob("ckpt-3.*")} == there
    _, model, starts = train(tmp_path / "run", 6)
    assert starts == [4]
    assert_same_state(state(model), uninterrupted[6])
    aside = tmp_path / "run/damaged_checkpoints/ckpt-3"
    assert ({path.name for path in aside.iterdir()} if there else set()) == there
    assert checkpoint_steps(tmp_path / "run") == {"ckpt-1": 0, "ckpt-2": 2, "ckpt-3": 6}
    assert tf.train.latest_checkpoint(str(tmp_path / "run")) == str(tmp_path / "run/ckpt-3")
    assert "continuing at step 2" in capsys.readouterr().out


# tests/checkpoints/test_checkpoint_search.py has all kinds of damage.
@pytest.mark.parametrize("kind", ["missing", "not text", "naming a deleted checkpoint"])
def test_a_damaged_state_file_costs_no_step(tmp_path, kind, copy_run):
    copy_run(tmp_path / "run", 3)
    STATE_DAMAGE[kind](tmp_path / "run/checkpoint")
    _, _, starts = train(tmp_path / "run", 4)
    assert starts == [6]
    state_file = tf.train.get_checkpoint_state(str(tmp_path / "run"))
    names = [Path(path).name for path in state_file.all_model_checkpoint_paths]
    assert names == ["ckpt-1", "ckpt-2", "ckpt-3"]


def killed_save(run, number, stage):
    """Turn the newest checkpoint into what a kill leaves after a stage of its save."""
    prefix = run / f"ckpt-{number}"
    temporary = run / f"ckpt-{number}_temp"
    if stage == "shards":
        temporary.mkdir()
        for path in run.glob(f"ckpt-{number}.*"):
            path.rename(temporary / path.name.replace(f"ckpt-{number}", "part-00000-of-00001"))
    elif stage == "data":
        Path(f"{prefix}.index").rename(f"{prefix}.index.tempstate17")
    if number == 1:
        (run / "checkpoint").rename(run / "checkpoint.tmp0a1b")
    else:
        text = (run / "checkpoint").read_text()
        (run / "checkpoint.tmp0a1b").write_text(text)
        lines = [
            line
            for line in text.splitlines()
            if f'all_model_checkpoint_paths: "ckpt-{number}"' not in line
        ]
        (run / "checkpoint").write_text(
            "\n".join(lines).replace(f"ckpt-{number}", f"ckpt-{number - 1}")
        )
        os.utime(run / "checkpoint", (0, 0))


@pytest.mark.parametrize("stage", ["shards", "data", "index"])
@pytest.mark.parametrize("number", [1, 2])
def test_killed_while_saving(tmp_path, number, stage, capsys, copy_run, uninterrupted):
    run = tmp_path / "run"
    copy_run(run, 3)
    if number == 1:
        for path in run.glob("ckpt-2.*"):
            path.unlink()
        (run / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\n')
    killed_save(run, number, stage)
    _, model, starts = train(run, 5)
    assert starts == [6 if (number, stage) == (2, "index") else 0]
    assert_same_state(state(model), uninterrupted[5])
    left = {path.name for path in run.iterdir() if not path.name.startswith("ckpt-")}
    assert left == {"checkpoint", "train"}
    assert not list(run.glob("*temp*"))
    assert "removed the files of an interrupted save" in capsys.readouterr().out
    prefixes = {path.name.split(".")[0] for path in run.glob("ckpt-*")}
    assert prefixes == set(checkpoint_steps(run))


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
