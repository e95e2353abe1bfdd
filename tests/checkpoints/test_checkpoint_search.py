"""Paths that users type; the newest complete checkpoint of a directory."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_search
from object_detection_mtl.checkpoints.checkpoint_stream import new_checkpoints
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
    assert checkpoint_search.resolve_checkpoint(saved) == saved
    assert checkpoint_search.resolve_checkpoint(Path(saved)) == saved
    assert checkpoint_search.resolve_checkpoint(run) == saved
    assert checkpoint_search.resolve_checkpoint("~/run") == saved
    assert checkpoint_search.resolve_checkpoint("~/run/ckpt-1") == str(run / "ckpt-1")
    assert checkpoint_search.resolve_checkpoint("~/run/") == saved
    assert checkpoint_search.resolve_checkpoint(f"{saved}/") == saved


def test_reads_object_based_and_both_name_based_formats(saved, tmp_path):
    opened = checkpoint_search.open_checkpoint(saved)
    assert opened.is_object_based
    np.testing.assert_array_equal(opened.read("x/.ATTRIBUTES/VARIABLE_VALUE"), np.arange(1000.0))
    for version in (1, 2):
        prefix = write_tf1(tmp_path / f"v{version}.ckpt", {"a/b": np.ones(3)}, version=version)
        named = checkpoint_search.open_checkpoint(prefix)
        assert not named.is_object_based
        assert named.shapes == {"a/b": (3,)}
        np.testing.assert_array_equal(named.read("a/b"), np.ones(3))


def test_a_file_of_a_checkpoint_is_refused_with_its_prefix(saved):
    for suffix in (".index", ".data-00000-of-00001", ".meta"):
        with pytest.raises(ValueError, match=f"common prefix of its files: {saved!r}"):
            checkpoint_search.resolve_checkpoint(saved + suffix)


def test_errors_of_missing_paths_list_existing_checkpoints(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"did you mean '.*ckpt-2'\?.*holds ckpt-1, ckpt-2"):
        checkpoint_search.resolve_checkpoint(saved.replace("ckpt-2", "ckpt-22"))
    with pytest.raises(FileNotFoundError, match="directory '.*nowhere' does not exist"):
        checkpoint_search.resolve_checkpoint(tmp_path / "nowhere" / "ckpt-1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="'.*empty' holds no checkpoint"):
        checkpoint_search.resolve_checkpoint(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="'.*empty' holds no checkpoint"):
        checkpoint_search.resolve_checkpoint(tmp_path / "empty" / "ckpt-1")
    with pytest.raises(ValueError, match="path is empty"):
        checkpoint_search.resolve_checkpoint("")


def test_missing_and_truncated_data(saved):
    data = saved + ".data-00000-of-00001"
    with open(data, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"ckpt-2' cannot be read; its files are corrupt or trun"):
        checkpoint_search.open_checkpoint(saved).read("x/.ATTRIBUTES/VARIABLE_VALUE")
    os.remove(data)
    with pytest.raises(FileNotFoundError, match=r"has an .index file but 0 of its 1 .data files"):
        checkpoint_search.open_checkpoint(saved)


def test_truncated_index_and_a_file_of_another_kind(saved, tmp_path):
    with open(saved + ".index", "r+b") as file:
        file.truncate(20)
    with pytest.raises(ValueError, match="corrupt or truncated"):
        checkpoint_search.open_checkpoint(saved)
    (tmp_path / "notes.txt").write_text("weights are in the other directory")
    with pytest.raises(ValueError, match=r"notes.txt' cannot be read"):
        checkpoint_search.open_checkpoint(tmp_path / "notes.txt")


def test_a_copied_directory_whose_state_file_names_the_old_place(saved, tmp_path):
    run = Path(saved).parent
    state = (run / "checkpoint").read_text().replace('path: "', f'path: "{tmp_path}/elsewhere/')
    (run / "checkpoint").write_text(state)
    assert checkpoint_search.resolve_checkpoint(run) == saved


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
        checkpoint_search.resolve_checkpoint(tmp_path / name)


def test_a_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"something")
    with pytest.raises(FileNotFoundError, match="is a SavedModel; .* in checkpoint/ next to it"):
        checkpoint_search.resolve_checkpoint(tmp_path)


DATA = ".data-00000-of-00001"


def change(path, function):
    path = Path(path)
    path.write_bytes(function(path.read_bytes()))


def flip_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def truncate(content):
    return content[: len(content) // 2]


def zero(content):
    return bytes(len(content))


# Damage to the newest checkpoint, `prefix`.
DAMAGE = {
    "data truncated": lambda prefix: change(prefix + DATA, truncate),
    "data with a flipped bit": lambda prefix: change(prefix + DATA, flip_bit),
    "data zeroed": lambda prefix: change(prefix + DATA, zero),
    "data empty": lambda prefix: change(prefix + DATA, lambda _: b""),
    "data missing": lambda prefix: os.remove(prefix + DATA),
    "index truncated": lambda prefix: change(prefix + ".index", truncate),
    "index with a flipped bit": lambda prefix: change(prefix + ".index", flip_bit),
    "index zeroed": lambda prefix: change(prefix + ".index", zero),
    "index missing": lambda prefix: os.remove(prefix + ".index"),
    "all files missing": lambda prefix: [path.unlink() for path in glob(prefix)],
}
# Damage to the state file of a directory.
STATE_DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "zeroed": lambda path: change(path, zero),
    "not a protobuf": lambda path: path.write_bytes(b"{'ckpt-2'"),
    "not text": lambda path: path.write_bytes(bytes(range(256))),
    "of another machine": lambda path: change(
        path, lambda content: content.replace(b'path: "', b'path: "/somewhere/else/')
    ),
    "naming a deleted checkpoint": lambda path: change(
        path,
        lambda content: content.replace(b'model_checkpoint_path: "ckpt-2"', b"", 1).replace(
            b"all_", b'model_checkpoint_path: "ckpt-9"\nall_', 1
        ),
    ),
}


def glob(prefix):
    return list(Path(prefix).parent.glob(f"{Path(prefix).name}.*"))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_is_refused_by_name_and_skipped_in_its_directory(
    saved, kind, caplog
):
    run = Path(saved).parent
    DAMAGE[kind](saved)
    newest = checkpoint_search.find_newest(str(run))
    assert newest.prefix == str(run / "ckpt-1")
    assert list(newest.refused) == [saved]
    assert saved in caplog.text
    assert "newest complete checkpoint is taken" in caplog.text
    with pytest.raises((ValueError, FileNotFoundError), match="ckpt-2") as refused:
        checkpoint_search.open_checkpoint(saved).read("x/.ATTRIBUTES/VARIABLE_VALUE")
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=r"newest checkpoint is corrupt: .*ckpt-2.*fallback takes"):
        checkpoint_search.resolve_checkpoint(run, on_damaged=checkpoint_search.FAIL)


@pytest.mark.parametrize("kind", STATE_DAMAGE)
def test_a_damaged_state_file_hides_no_checkpoint(saved, kind, caplog):
    run = Path(saved).parent
    STATE_DAMAGE[kind](run / "checkpoint")
    assert checkpoint_search.resolve_checkpoint(run) == saved
    assert ("state file" in caplog.text) == (
        kind in ("empty", "zeroed", "not a protobuf", "not text")
    )


@pytest.mark.parametrize("kind", STATE_DAMAGE)
def test_both_damaged(saved, kind):
    run = Path(saved).parent
    STATE_DAMAGE[kind](run / "checkpoint")
    change(saved + DATA, flip_bit)
    assert checkpoint_search.resolve_checkpoint(run) == str(run / "ckpt-1")


def test_every_checkpoint_damaged(saved):
    run = Path(saved).parent
    for prefix in (saved, str(run / "ckpt-1")):
        change(prefix + DATA, zero)
    with pytest.raises(
        ValueError, match=r"run' holds no complete checkpoint: .*ckpt-2.*; .*ckpt-1"
    ):
        checkpoint_search.resolve_checkpoint(run)


def test_a_state_file_without_any_checkpoint(saved):
    run = Path(saved).parent
    for path in run.glob("ckpt-*"):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no complete checkpoint: .*ckpt-2' cannot be used"
    ):
        checkpoint_search.find_newest(str(run))
    (run / "checkpoint").write_text("")
    with pytest.raises(
        FileNotFoundError, match="state file of .* names no checkpoint, and the directory"
    ):
        checkpoint_search.find_newest(str(run))


def test_a_checkpoint_that_the_state_file_does_not_name_yet(saved):
    run = Path(saved).parent
    state = (run / "checkpoint").read_text()
    (run / "checkpoint").write_text(state.replace("ckpt-2", "ckpt-1"))
    os.utime(run / "checkpoint", (0, 0))
    assert checkpoint_search.resolve_checkpoint(run) == saved


def test_a_user_may_name_an_older_checkpoint_in_the_state_file(saved):
    run = Path(saved).parent
    state = (run / "checkpoint").read_text()
    (run / "checkpoint").write_text(state.replace("ckpt-2", "ckpt-1", 1))
    assert checkpoint_search.resolve_checkpoint(run) == str(run / "ckpt-1")


def test_checkpoints_of_several_models_need_a_state_file(saved, tmp_path):
    run = Path(saved).parent
    write_tf1(run / "model.ckpt", {"a": 1.0})
    (run / "checkpoint").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"give one of them: .*ckpt-1, .*ckpt-2, .*model.ckpt"
    ):
        checkpoint_search.resolve_checkpoint(run)


def test_a_directory_that_keeps_its_checkpoint_in_a_subdirectory(saved, tmp_path):
    (tmp_path / "export").mkdir()
    Path(saved).parent.rename(tmp_path / "export" / "checkpoint")
    expected = str(tmp_path / "export" / "checkpoint" / "ckpt-2")
    assert checkpoint_search.resolve_checkpoint(tmp_path / "export") == expected
    assert list(new_checkpoints(str(tmp_path / "export"), timeout=0)) == [expected]


def test_a_prefix_means_one_checkpoint_and_a_directory_a_run(saved, tmp_path):
    run = Path(saved).parent
    assert checkpoint_search.means_one_checkpoint(saved)
    assert checkpoint_search.means_one_checkpoint(str(run / "ckpt-22"))  # A typing error.
    assert not checkpoint_search.means_one_checkpoint(str(run))
    assert not checkpoint_search.means_one_checkpoint(f"{run}/")
    assert not checkpoint_search.means_one_checkpoint(str(tmp_path / "run-2"))
    assert checkpoint_search.means_one_checkpoint(f"{saved}.index")
    assert checkpoint_search.means_one_checkpoint(f"{tmp_path}/ckpt-9.data-00000-of-00001")
    assert checkpoint_search.means_one_checkpoint(str(run / "checkpoint"))
    with pytest.raises(ValueError, match="is the state file of checkpoints; give its directory"):
        checkpoint_search.resolve_checkpoint(str(run / "checkpoint"))
    (tmp_path / "export").mkdir()
    run.rename(tmp_path / "export/checkpoint")
    assert checkpoint_search.means_one_checkpoint(str(tmp_path / "export"))


def test_a_checkpoint_on_a_file_system_of_tensorflow_alone():
    """`ram://` calls every beginning of a file's name a directory."""
    prefix = tf.train.Checkpoint(step=tf.Variable(3)).save("ram://search/ckpt")
    assert prefix == "ram://search/ckpt-1"
    for path in ("ram://search", "ram://search/", prefix):
        assert checkpoint_search.resolve_checkpoint(path) == prefix
    assert checkpoint_search.means_one_checkpoint(prefix)
    assert not checkpoint_search.means_one_checkpoint("ram://search")
