"""Features and XML in the OD API's forms."""

import contextlib
import xml.etree.ElementTree as ET

import numpy as np
import tensorflow as tf

from object_detection_mtl.odapi.dataset_tools import tf_record_creation_util
from object_detection_mtl.odapi.utils import dataset_util


def test_features():
    assert dataset_util.int64_feature(np.int64(3)).int64_list.value == [3]
    assert dataset_util.int64_list_feature([1, 2]).int64_list.value == [1, 2]
    assert dataset_util.bytes_feature(b"jpg").bytes_list.value == [b"jpg"]
    assert dataset_util.bytes_list_feature([b"a", b"b"]).bytes_list.value == [b"a", b"b"]
    assert dataset_util.float_feature(0.5).float_list.value == [0.5]
    assert dataset_util.float_list_feature(np.array([0.5])).float_list.value == [0.5]


def test_xml_to_dict():
    tree = ET.fromstring(
        "<annotation><filename>a.jpg</filename><size><width>4</width></size>"
        "<object><name>cat</name></object><object><name>dog</name></object></annotation>"
    )
    assert dataset_util.recursive_parse_xml_to_dict(tree) == {
        "annotation": {
            "filename": "a.jpg",
            "size": {"width": "4"},
            "object": [{"name": "cat"}, {"name": "dog"}],
        }
    }


def test_lists_of_examples(tmp_path):
    (tmp_path / "aeroplane_train.txt").write_text("2008_000001  1\n2008_000002 -1\n")
    assert dataset_util.read_examples_list(tmp_path / "aeroplane_train.txt") == [
        "2008_000001",
        "2008_000002",
    ]


def test_sharded_records(tmp_path):
    with contextlib.ExitStack() as stack:
        writers = tf_record_creation_util.open_sharded_output_tfrecords(
            stack, str(tmp_path / "train.record"), 2
        )
        for number in range(5):
            writers[number % 2].write(str(number).encode())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["train.record-00000-of-00002", "train.record-00001-of-00002"]
    read = tf.data.TFRecordDataset(str(tmp_path / names[0])).as_numpy_iterator()
    assert list(read) == [b"0", b"2", b"4"]
