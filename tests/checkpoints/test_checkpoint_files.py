"""Paths that users type, and files that are not what they should be."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_files
from tests.checkpoints.tf1_files import write_tf1


@pytest.fixture
def saved(tmp_path):
    checkpoint = tf.train.Checkpoint(x=tf.Variable(np.arange(1000.0)))
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path / "run"), max_to_keep=3)
    manager.save()
    return manager.save()


def test_prefix_directory_and_home_mean_the_newest_checkpoint(saved, monkeypatch):
    run = Path(saved).parent
    monkeypatch.setenv("HOME", str(run.parent))
    assert checkpoint_files.resolve_checkpoint(saved) == saved
    assert checkpoint_files.resolve_checkpoint(Path(saved)) == saved
    assert checkpoint_files.resolve_checkpoint(run) == saved
    assert checkpoint_files.resolve_checkpoint("~/run") == saved
    assert checkpoint_files.resolve_checkpoint("~/run/ckpt-1") == str(run / "ckpt-1")
    assert checkpoint_files.resolve_checkpoint("~/run/") == saved
    assert checkpoint_files.resolve_checkpoint(f"{saved}/") == saved


def test_reads_object_based_and_both_name_based_formats(saved, tmp_path):
    opened = checkpoint_files.open_checkpoint(saved)
    assert opened.is_object_based
    np.testing.assert_array_equal(opened.read("x/.ATTRIBUTES/VARIABLE_VALUE"), np.arange(1000.0))
    for version in (1, 2):
        prefix = write_tf1(tmp_path / f"v{version}.ckpt", {"a/b": np.ones(3)}, version=version)
        named = checkpoint_files.open_checkpoint(prefix)
        assert not named.is_object_based
        assert named.shapes == {"a/b": (3,)}
        np.testing.assert_array_equal(named.read("a/b"), np.ones(3))


def test_a_file_of_a_checkpoint_is_refused_with_its_prefix(saved):
    for suffix in (".index", ".data-00000-of-00001", ".meta"):
        with pytest.raises(ValueError, match=f"common prefix of its files: {saved!r}"):
            checkpoint_files.resolve_checkpoint(saved + suffix)


def test_missing_paths_say_what_is_there(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*ckpt-2'\?.*holds ckpt-1, ckpt-2"):
        checkpoint_files.resolve_checkpoint(saved.replace("ckpt-2", "ckpt-22"))
    with pytest.raises(FileNotFoundError, match="there is no directory '.*nowhere'"):
        checkpoint_files.resolve_checkpoint(tmp_path / "nowhere" / "ckpt-1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="'.*empty' holds no checkpoint"):
        checkpoint_files.resolve_checkpoint(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="'.*empty' holds no checkpoint"):
        checkpoint_files.resolve_checkpoint(tmp_path / "empty" / "ckpt-1")
    with pytest.raises(ValueError, match="path is empty"):
        checkpoint_files.resolve_checkpoint("")


def test_directory_without_state_file_lists_its_checkpoints(saved):
    run = os.path.dirname(saved)
    os.remove(os.path.join(run, "checkpoint"))
    with pytest.raises(FileNotFoundError, match=r"no `checkpoint` state file.*ckpt-1, .*ckpt-2"):
        checkpoint_files.resolve_checkpoint(run)


def test_state_file_that_names_a_lost_checkpoint(saved):
    os.remove(saved + ".index")
    with pytest.raises(FileNotFoundError, match=r"names '.*ckpt-2', whose .index file is missing"):
        checkpoint_files.resolve_checkpoint(os.path.dirname(saved))


def test_missing_and_truncated_data(saved):
    data = saved + ".data-00000-of-00001"
    with open(data, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"ckpt-2' cannot be read; it is damaged or cut short"):
        checkpoint_files.open_checkpoint(saved).read("x/.ATTRIBUTES/VARIABLE_VALUE")
    os.remove(data)
    with pytest.raises(FileNotFoundError, match=r"has an .index file but 0 of its 1 .data files"):
        checkpoint_files.resolve_checkpoint(saved)


def test_truncated_index_and_a_file_that_is_no_checkpoint(saved, tmp_path):
    with open(saved + ".index", "r+b") as file:
        file.truncate(20)
    with pytest.raises(ValueError, match="damaged or cut short"):
        checkpoint_files.open_checkpoint(saved)
    (tmp_path / "notes.txt").write_text("weights are in the other folder")
    with pytest.raises(ValueError, match=r"notes.txt' cannot be read"):
        checkpoint_files.open_checkpoint(tmp_path / "notes.txt")


def test_a_copied_folder_whose_state_file_names_the_old_place(saved, tmp_path):
    run = Path(saved).parent
    state = (run / "checkpoint").read_text().replace('path: "', f'path: "{tmp_path}/elsewhere/')
    (run / "checkpoint").write_text(state)
    assert checkpoint_files.resolve_checkpoint(run) == saved


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("faster_rcnn_resnet50.tar.gz", "an archive; unpack it"),
        ("frozen_inference_graph.pb", "a graph, whose weights cannot be trained on"),
        ("pipeline.config", "a configuration; give the checkpoint"),
    ],
)
def test_other_files_that_come_with_models(tmp_path, name, what):
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(ValueError, match=f"{name}' is {what}"):
        checkpoint_files.resolve_checkpoint(tmp_path / name)


def test_a_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"something")
    with pytest.raises(FileNotFoundError, match="is a SavedModel; .* in checkpoint/ next to it"):
        checkpoint_files.resolve_checkpoint(tmp_path)
