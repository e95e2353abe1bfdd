"""Following a run's checkpoints."""

import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_contents, checkpoint_stream
from tests.checkpoints.tf1_files import write_tf1


@pytest.fixture
def manager(tmp_path):
    checkpoint = tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64))
    return tf.train.CheckpointManager(checkpoint, str(tmp_path / "run"), max_to_keep=2)


def save(manager, step):
    manager.checkpoint.step.assign(step)
    return manager.save()


def test_only_the_newest_of_what_is_there(manager):
    save(manager, 10)
    newest = save(manager, 20)
    assert list(checkpoint_stream.new_checkpoints(manager.directory, timeout=0)) == [newest]
    assert checkpoint_contents.global_step_at(newest) == 20


def test_new_ones_follow_and_those_between_are_skipped(manager):
    seen = []
    save(manager, 1)
    for prefix in checkpoint_stream.new_checkpoints(manager.directory, timeout=1.5):
        seen.append(checkpoint_contents.global_step_at(prefix))
        if len(seen) == 1:
            save(manager, 2)
            save(manager, 3)
    assert seen == [1, 3]


def test_checkpoints_between_two_intervals_are_skipped_and_none_comes_twice(manager):
    seen = []
    save(manager, 1)
    started = time.monotonic()
    for prefix in checkpoint_stream.new_checkpoints(
        manager.directory, timeout=1.5, min_interval=1.0
    ):
        # Before the file is read, which takes its time: the interval counts from when it came.
        came = time.monotonic()
        seen.append(checkpoint_contents.global_step_at(prefix))
        if len(seen) == 1:
            save(manager, 2)
            threading.Timer(0.4, save, (manager, 3)).start()
    assert seen == [1, 3]
    assert came - started >= 1.0


def test_the_timeout_does_not_wait_for_the_interval(manager):
    newest = save(manager, 1)
    interval = 600
    started = time.monotonic()
    prefixes = checkpoint_stream.new_checkpoints(
        manager.directory, timeout=0, min_interval=interval
    )
    assert list(prefixes) == [newest]
    assert time.monotonic() - started < interval


def test_a_directory_that_comes_later(manager):
    timer = threading.Timer(0.5, save, (manager, 4))
    timer.start()
    timeout = 600
    started = time.monotonic()
    first = next(checkpoint_stream.new_checkpoints(manager.directory, timeout=timeout))
    timer.join()
    assert checkpoint_contents.global_step_at(first) == 4
    assert time.monotonic() - started < timeout


def test_a_damaged_checkpoint_is_passed_over_or_ends_the_stream(manager):
    first = save(manager, 1)
    second = save(manager, 2)
    Path(f"{second}.data-00000-of-00001").write_bytes(b"")
    assert list(checkpoint_stream.new_checkpoints(manager.directory, timeout=0)) == [first]
    with pytest.raises(ValueError, match="newest checkpoint is corrupt: .*ckpt-2"):
        list(checkpoint_stream.new_checkpoints(manager.directory, timeout=0, on_damaged="fail"))
    Path(f"{first}.index").unlink()
    with pytest.raises(FileNotFoundError, match="no complete checkpoint appeared"):
        list(checkpoint_stream.new_checkpoints(manager.directory, timeout=0))


def test_nothing_in_time_is_an_error(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no complete checkpoint appeared in .*nowhere' within 0 s"
    ):
        list(checkpoint_stream.new_checkpoints(str(tmp_path / "nowhere"), timeout=0))


def test_a_checkpoint_without_a_step_is_at_step_0(tmp_path):
    assert checkpoint_contents.global_step_at(write_tf1(tmp_path / "model.ckpt", {"a/b": 1.0})) == 0


def test_the_step_of_a_tf1_checkpoint(tmp_path):
    assert (
        checkpoint_contents.global_step_at(write_tf1(tmp_path / "model.ckpt-5", {"global_step": 5}))
        == 5
    )
