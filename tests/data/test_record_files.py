"""Record files: patterns, offsets, invalid files."""

import gzip
import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.data import record_files
from tests.data.record_files import write


def test_patterns_expand_in_order_and_each_file_once(tmp_path):
    for name in ("b-1", "b-0", "a", "[x]*"):
        write(tmp_path / name, b"data")
    (tmp_path / "b-directory").mkdir()
    found = record_files.expand_patterns(
        [f"{tmp_path}/b-*", f"{tmp_path}/a", f"{tmp_path}/b-0", f"{tmp_path}/[x]*"]
    )
    assert [os.path.basename(path) for path in found] == ["b-0", "b-1", "a", "[x]*"]
    assert record_files.expand_patterns(f"{tmp_path}/a") == (f"{tmp_path}/a",)


def test_a_pattern_that_matches_nothing_is_quoted(tmp_path):
    write(tmp_path / "train.record", b"data")
    with pytest.raises(FileNotFoundError, match=r"no file matches '.*/trian\.record\*'"):
        record_files.expand_patterns([f"{tmp_path}/train.record", f"{tmp_path}/trian.record*"])
    for nothing in ([], "", [""]):
        with pytest.raises(ValueError, match="input_path.*is empty"):
            record_files.expand_patterns(nothing)


def places(index):
    return [
        (os.path.basename(index.files[number]), int(offset))
        for number, offset in zip(index.file_numbers, index.offsets, strict=True)
    ]


def test_places_of_all_records(tmp_path):
    write(tmp_path / "a", b"12345", b"", b"1")
    write(tmp_path / "b")
    write(tmp_path / "c", b"123")
    index = record_files.index_records([f"{tmp_path}/a", f"{tmp_path}/b", f"{tmp_path}/c"])
    assert places(index) == [("a", 0), ("a", 21), ("a", 37), ("c", 0)]
    assert len(index) == 4
    assert places(index.every(2)) == [("a", 0), ("a", 37)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_every_record_is_found_where_tensorflow_wrote_it(tmp_path_factory, contents):
    path = write(tmp_path_factory.mktemp("x") / "a", *contents)
    index = record_files.index_records(str(path))
    data = path.read_bytes()
    found = [
        data[offset + 12 : offset + 12 + int.from_bytes(data[offset : offset + 8], "little")]
        for offset in index.offsets
    ]
    assert found == contents


def test_truncated_file_is_an_error_with_its_position(tmp_path):
    path = write(tmp_path / "whole", b"x" * 20, b"y" * 30)  # Records at 0..36 and 36..82.
    data = path.read_bytes()
    truncated = tmp_path / "truncated"
    for length in (1, 11, 12, 35, 37, 81):
        truncated.write_bytes(data[:length])
        number, start = (0, 0) if length < 36 else (1, 36)
        says = (
            f"truncated is truncated: record number {number} .* starts at byte {start} .* {length}"
        )
        with pytest.raises(ValueError, match=says):
            record_files.index_records(str(truncated))
    truncated.write_bytes(
        data[:36]
    )  # A truncation between two records looks like the end of the file.
    assert len(record_files.index_records(str(truncated))) == 1


def test_other_file_is_an_error(tmp_path):
    (tmp_path / "text").write_text("this is a text file, not a TFRecord")
    with pytest.raises(ValueError, match=r"text is not a TFRecord file: the checksum"):
        record_files.index_records(f"{tmp_path}/text")
    data = bytearray(write(tmp_path / "a", b"x" * 20, b"y").read_bytes())
    (tmp_path / "gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(ValueError, match="gz is compressed with gzip"):
        record_files.index_records(f"{tmp_path}/gz")
    data[36] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    with pytest.raises(ValueError, match="flipped is corrupt: at byte 36, after 1 records"):
        record_files.index_records(f"{tmp_path}/flipped")


def test_encoded_records_equal_those_of_tensorflow(tmp_path):
    data = [b"", b"x", b"y" * 1000]
    written = write(tmp_path / "a.record", *data).read_bytes()
    assert b"".join(map(record_files.encode_record, data)) == written


def test_files_without_a_record_are_an_error(tmp_path):
    write(tmp_path / "none")
    with pytest.raises(ValueError, match="none: no record, expected at least one"):
        record_files.index_records(f"{tmp_path}/none")


def test_other_file_systems_are_read_through_tensorflow(tmp_path):
    path = write(tmp_path / "a", b"12345", b"1")
    index = record_files.index_records(f"file://{path}")
    np.testing.assert_array_equal(index.offsets, [0, 21])
    dataset = tf.data.TFRecordDataset(list(index.files))
    assert [item.numpy() for item in dataset] == [b"12345", b"1"]


def test_home_directory_of_a_pattern_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.record").touch()
    assert record_files.expand_patterns("~/a.rec*") == (str(tmp_path / "a.record"),)


def test_a_missing_shard_and_a_list_with_commas_are_explained(tmp_path):
    for shard in (0, 2):
        (tmp_path / f"a-{shard:05d}-of-00003").write_bytes(b"")
    for pattern in ("a-?????-of-00003", "a-*-of-00003", "a-?????-of-?????", "a-*"):
        with pytest.raises(FileNotFoundError, match="3 shards, but 1 do not exist: .*-00001-of-"):
            record_files.expand_patterns(str(tmp_path / pattern))
    (tmp_path / "a-00001-of-00003").write_bytes(b"")
    assert len(record_files.expand_patterns(str(tmp_path / "a-?????-of-00003"))) == 3
    assert len(record_files.expand_patterns(str(tmp_path / "a-*"))) == 3
    assert len(record_files.expand_patterns(str(tmp_path / "a-0000[01]-of-00003"))) == 2
    (tmp_path / "a-00000-of-00001").write_bytes(b"")
    with pytest.raises(ValueError, match="shards of two conversions, .*-of-00001 and .*-of-00003"):
        record_files.expand_patterns(str(tmp_path / "a-*"))
    assert len(record_files.expand_patterns(str(tmp_path / "a-?????-of-00003"))) == 3
    with pytest.raises(FileNotFoundError, match="not separated by commas: give one input_path"):
        record_files.expand_patterns(f"{tmp_path}/a,{tmp_path}/b")
