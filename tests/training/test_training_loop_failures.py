"""Failures of whole runs: bad numbers, bad data, damaged checkpoints, kills."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.training.failures import NonFiniteError, TrainingDataError
from object_detection_mtl.training.optimizers import Adam
from tests.checkpoints.test_checkpoint_search import DAMAGE, STATE_DAMAGE
from tests.training.linear import dataset, make_model
from tests.training.loop_runs import (
    assert_same_state,
    averaging,
    checkpoint_steps,
    scalars,
    scheduled,
    state,
    train,
)

pytestmark = pytest.mark.usefixtures("linear_names")


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
