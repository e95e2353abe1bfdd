"""tf.train.Example: the parsed values equal the built ones."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data.example_format import build_example, parsing_spec
from object_detection_mtl.fields import TfExample

REQUIRED = {
    "encoded": b"bytes",
    "image_format": "jpeg",
    "height": 3,
    "width": 4,
    "filename": "a.jpg",
    "source_id": "7",
}


def test_what_is_built_is_parsed_again():
    record = build_example(
        **REQUIRED,
        boxes=np.array([[0, 0.25, 0.5, 1], [0.5, 0, 1, 1]]),
        class_texts=["cat", "Bär"],
        class_labels=[1, 2],
        difficult=[False, True],
        is_crowd=[True, False],
        group_of=[0, 1],
        area=[1.5, 2],
        weight=[1, 0.5],
        view=["Left", "Unspecified"],
        truncated=None,
    )
    parsed = tf.io.parse_single_example(record.SerializeToString(), parsing_spec())
    expected = {
        TfExample.encoded: b"bytes",
        TfExample.source_id: b"7",
        TfExample.filename: b"a.jpg",
        TfExample.sha256: hashlib.sha256(b"bytes").hexdigest().encode(),
        TfExample.ymin: [0, 0.5],
        TfExample.xmin: [0.25, 0],
        TfExample.ymax: [0.5, 1],
        TfExample.xmax: [1, 1],
        TfExample.class_text: [b"cat", "Bär".encode()],
        TfExample.class_label: [1, 2],
        TfExample.difficult: [0, 1],
        TfExample.is_crowd: [1, 0],
        TfExample.group_of: [0, 1],
        TfExample.area: [1.5, 2],
        TfExample.weight: [1, 0.5],
        TfExample.image_class_label: [],
    }
    assert set(parsed) == set(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(parsed[key].numpy(), value)
    assert record.features.feature[TfExample.view].bytes_list.value == [b"Left", b"Unspecified"]
    assert TfExample.truncated not in record.features.feature


def test_no_object_and_an_empty_record_parse_to_empty_lists():
    record = build_example(**REQUIRED, boxes=[], class_texts=[], class_labels=[], difficult=[])
    for item in (record, tf.train.Example()):
        parsed = tf.io.parse_single_example(item.SerializeToString(), parsing_spec())
        for key in (TfExample.ymin, TfExample.class_text, TfExample.difficult, TfExample.weight):
            assert parsed[key].shape == (0,)
    assert parsed[TfExample.encoded] == b""


def test_lists_of_other_lengths_are_refused():
    one = {"boxes": [[0, 0, 1, 1]], "class_texts": ["x"], "class_labels": [1]}
    with pytest.raises(ValueError, match="image/object/difficult has 2 values for 1 boxes"):
        build_example(**REQUIRED, **one, difficult=[0, 1])
    with pytest.raises(ValueError, match="class/label has 0 values for 1 boxes"):
        build_example(**REQUIRED, **{**one, "class_labels": []})
    with pytest.raises(KeyError, match="dificult"):
        build_example(**REQUIRED, **one, dificult=[0])
