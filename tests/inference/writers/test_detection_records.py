"""Resumable TFRecord of detections."""

import tensorflow as tf

from object_detection_mtl.inference.writers.detection_records import RECORD_FILE, RecordWriter


def read(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write(directory, *data, end=0):
    """Write records; return the end of each and the size of the complete ones before."""
    output = RecordWriter(directory)
    whole = output.complete_bytes
    output.resume_at(end)
    ends = [output.add(one) for one in data]
    output.close()
    return ends, whole


def test_records_are_appended_and_complete_at_the_end(tmp_path):
    data = [b"x" * length for length in (1, 30, 0, 7, 20, 9)]
    output = RecordWriter(tmp_path)
    ends = [output.add(one) for one in data]
    incomplete = tmp_path / f"{RECORD_FILE}.incomplete"
    assert ends[-1] == incomplete.stat().st_size
    assert read(incomplete) == data
    output.finish()
    output.close()
    assert [path.name for path in tmp_path.iterdir()] == [RECORD_FILE]
    assert read(tmp_path / RECORD_FILE) == data


def test_the_file_is_truncated_after_the_last_known_record(tmp_path):
    ends, whole = write(tmp_path, b"a", b"bb", b"ccc")
    assert whole == 0
    path = tmp_path / f"{RECORD_FILE}.incomplete"
    with path.open("ab") as file:
        file.write(path.read_bytes()[:9])  # the next record, truncated
    assert write(tmp_path, b"d", end=ends[1]) == ([ends[1] + 17], ends[2])
    assert read(path) == [b"a", b"bb", b"d"]
    write(tmp_path, b"e")
    assert read(path) == [b"e"]
