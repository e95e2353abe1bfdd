"""Shards: names, and no incomplete file under a final name."""

from pathlib import Path

import pytest
import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.dataset_tools import shard_writer


def stored(path):
    return [item.numpy() for item in tf.data.TFRecordDataset(str(path))]


def test_examples_go_to_the_shards_in_turn(tmp_path):
    with shard_writer.ShardWriter(tmp_path / "new" / "a.record", 2) as writer:
        for number in range(5):
            writer.write(b"%d" % number)
    assert stored(tmp_path / "new" / "a.record-00000-of-00002") == [b"0", b"2", b"4"]
    assert stored(tmp_path / "new" / "a.record-00001-of-00002") == [b"1", b"3"]
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing_new_and_keeps_the_old(tmp_path, error):
    path = tmp_path / "a.record"
    path.write_bytes(b"old")
    with pytest.raises(error), shard_writer.ShardWriter(path) as writer:  # noqa: PT012
        writer.write(b"half")
        assert path.read_bytes() == b"old"
        assert not list(tmp_path.glob("a.record?*"))
        raise error
    assert [item.name for item in tmp_path.iterdir()] == ["a.record"]
    assert path.read_bytes() == b"old"


def test_nothing_written_leaves_no_file(tmp_path):
    with shard_writer.ShardWriter(tmp_path / "a.record", 3):
        pass
    assert not list(tmp_path.iterdir())


def test_shards_of_another_count_would_be_read_along_and_are_refused(tmp_path):
    with shard_writer.ShardWriter(tmp_path / "a[1].record", 2) as writer:
        writer.write(b"x")
    with pytest.raises(FileExistsError, match="another --num_shards"):
        shard_writer.ShardWriter(tmp_path / "a[1].record", 3)
    with shard_writer.ShardWriter(tmp_path / "a[1].record", 2) as writer:
        writer.write(b"y")
    assert stored(tmp_path / "a[1].record-00000-of-00002") == [b"y"]


@pytest.mark.parametrize("num_shards", [1, 2])
def test_a_directory_given_as_the_record_is_refused(tmp_path, num_shards):
    [taken, *_] = output_paths.shard_paths(tmp_path / "a.record", num_shards)
    taken.mkdir()
    with pytest.raises(IsADirectoryError, match=f"--output_path: '{taken}' is a directory"):
        shard_writer.ShardWriter(tmp_path / "a.record", num_shards)


def test_a_file_given_as_the_directory_is_an_error_before_conversion(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file") as error:
        shard_writer.ShardWriter(tmp_path / "file" / "a.record")
    assert error.value.filename == str(tmp_path / "file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
@pytest.mark.parametrize("size", [1, 2**20])
def test_a_full_disk_is_an_error_and_leaves_no_files(tmp_path, size):
    writer = shard_writer.ShardWriter(tmp_path / "a.record")
    # A small example waits in a buffer until the end; a large one fails at once.
    (tmp_path / ".incomplete-a.record").symlink_to("/dev/full")
    with pytest.raises(OSError, match="a.record' cannot be written: .*is the disk full"), writer:
        writer.write(bytes(size))
    assert not list(tmp_path.iterdir())
