"""A TFRecord that grows by whole records."""

import tensorflow as tf

from object_detection_mtl.inference.writers import detection_records
from object_detection_mtl.inference.writers.detection_records import NAME, RecordOutput


def read(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write(folder, *data, end=0):
    """Returns where each record ends, and what was whole before."""
    output = RecordOutput(folder)
    whole = output.whole
    output.go_on_at(end)
    ends = [output.add(one) for one in data]
    output.close()
    return ends, whole


def test_records_are_appended_and_complete_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_records, "_SCRATCH_BYTES", 40)  # several scratch files
    data = [b"x" * length for length in (1, 30, 0, 7, 20, 9)]
    output = RecordOutput(tmp_path)
    ends = [output.add(one) for one in data]
    incomplete = tmp_path / f"{NAME}.incomplete"
    assert ends[-1] == incomplete.stat().st_size and read(incomplete) == data
    output.finish()
    output.close()
    assert [path.name for path in tmp_path.iterdir()] == [NAME] and read(tmp_path / NAME) == data


def test_what_lies_beyond_the_last_known_record_is_cut_off(tmp_path):
    ends, whole = write(tmp_path, b"a", b"bb", b"ccc")
    assert whole == 0
    path = tmp_path / f"{NAME}.incomplete"
    with path.open("ab") as file:
        file.write(path.read_bytes()[:9])  # the next record, cut off
    assert write(tmp_path, b"d", end=ends[1]) == ([ends[1] + 17], ends[2])
    assert read(path) == [b"a", b"bb", b"d"]
    write(tmp_path, b"e")
    assert read(path) == [b"e"]
