"""Stored auxiliary labels: the authors' keys, numbers and strings."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import example_format as example_lib
from object_detection_mtl.dataset_tools import conversion_report, record_conversion
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage, AnnotatedObject
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from object_detection_mtl.mtl import labels
from tests.dataset_tools.record_contents import values
from tests.dataset_tools.voc_files import block_image, encoded
from tests.golden import label_scenes


def record_of(tmp_path, size, boxes, classes, *, num_classes, drop_reason=(), seed=0, name="a.png"):
    """The record of an image of (height, width) with absolute boxes, and what was reported."""
    path = tmp_path / name
    path.write_bytes(encoded(block_image(size[1], size[0]), "PNG"))
    objects = tuple(
        AnnotatedObject(
            f"class {label}", int(label), *box, drop_reason="why" if row in drop_reason else None
        )
        for row, (box, label) in enumerate(zip(boxes, classes, strict=True))
    )
    converted = record_conversion.convert_image(
        AnnotatedImage(path, name, name, name, size, objects),
        ConversionOptions(auxiliary_labels=AuxiliaryLabelOptions(num_classes, seed=seed)),
    )
    return tf.train.Example.FromString(converted.serialized), converted.report


def texts(example, key):
    return [text.decode() for text in values(example, key)]


def windows_of(example):
    return np.stack([values(example, key) for key in example_lib.WINDOW_KEYS], axis=-1)


SCENES = [scene.name for scene in label_scenes.scenes() if scene.mask is not None]


@pytest.mark.golden
@pytest.mark.parametrize("name", SCENES)
def test_the_authors_scenes(tmp_path, name):
    scene = label_scenes.scene(name)
    dropped = set(range(len(scene.boxes))) - set(scene.kept)
    example, _ = record_of(
        tmp_path,
        scene.size,
        scene.absolute_boxes,
        scene.classes,
        num_classes=scene.num_classes,
        drop_reason=dropped,
    )
    # They keep VOC's boxes without area, here they are dropped.
    has_area = (scene.boxes[:, 2:] > scene.boxes[:, :2]).all(axis=1)
    theirs = [
        text
        for row, text in zip(scene.kept, scene.runs[0].closeness_text, strict=True)
        if has_area[row]
    ]
    assert texts(example, "image/object/closeness/text") == theirs
    mask = np.reshape(values(example, "image/edgemask/masks"), [2, 64, 64])
    np.testing.assert_allclose(mask, scene.mask, rtol=1e-6)
    windows = windows_of(example)
    number = 64 if len(scene.boxes) else 1
    assert windows.shape == (number, 4)
    assert windows.min() >= 0
    assert windows.max() <= 1
    expected = labels.window_labels(scene.boxes, scene.classes, windows, scene.num_classes)
    stored = label_scenes.numbers(texts(example, "image/window/labels/text"), scene.num_classes)
    # The last digit depends on the windows, which are rounded to float32 when they are stored.
    np.testing.assert_allclose(stored, expected, atol=5.01e-4)


def test_the_layout_that_the_authors_code_parses(tmp_path):
    boxes = [[2, 4, 20, 30], [10, 1, 25, 12]]
    example, _ = record_of(tmp_path, (30, 40), boxes, [1, 3], num_classes=3)
    parsed = tf.io.parse_single_example(
        example.SerializeToString(),
        {
            **{
                f"image/window/bbox/{side}": tf.io.VarLenFeature(tf.float32)
                for side in ("ymin", "xmin", "ymax", "xmax")
            },
            "image/window/labels/text": tf.io.VarLenFeature(tf.string),
            "image/object/closeness/text": tf.io.VarLenFeature(tf.string),
            "image/edgemask/masks": tf.io.VarLenFeature(tf.float32),
            "image/edgemask/height": tf.io.FixedLenFeature((), tf.int64),
            "image/edgemask/width": tf.io.FixedLenFeature((), tf.int64),
        },
    )
    assert parsed["image/window/bbox/ymin"].dense_shape == [64]
    assert parsed["image/edgemask/masks"].dense_shape == [2 * 64 * 64]
    assert (parsed["image/edgemask/height"], parsed["image/edgemask/width"]) == (64, 64)
    rows = tf.strings.split(tf.sparse.to_dense(parsed["image/window/labels/text"]), " ").to_tensor()
    numbers = tf.strings.to_number(rows)
    assert numbers.shape == [64, 4]
    np.testing.assert_allclose(tf.reduce_sum(numbers, axis=1), np.ones(64), atol=2.1e-3)
    assert texts(example, "image/object/closeness/text") == ["0 0 0 1", "0 1 0 0"]


def test_objects_that_are_not_stored_count_all_the_same(tmp_path):
    boxes = [[2, 4, 20, 30], [10, 1, 25, 12], [5, 5, 5, 9]]
    example, report = record_of(
        tmp_path, (30, 40), boxes, [1, 3, 2], num_classes=3, drop_reason=[1]
    )
    assert values(example, "image/object/class/label") == [1]
    assert report.issues == {"why": ["a.png"], conversion_report.EMPTY: ["a.png"]}
    expected = labels.closeness_labels(
        np.array(boxes) / [30, 40, 30, 40], [1, 3, 2], (30, 40), num_classes=3
    )
    assert texts(example, "image/object/closeness/text") == labels.to_text(expected[:1])
    stored = label_scenes.numbers(texts(example, "image/window/labels/text"), 3)
    assert stored[:, 3].max() > 0
    assert stored[:, 2].max() == 0


def test_boxes_beyond_the_image_count_where_they_are(tmp_path):
    boxes = np.array([[2, 4, 20, 30], [-60, 0, 20, 10], [0, 0, 9, 9]])
    example, _ = record_of(tmp_path, (30, 40), boxes, [1, 2, 3], num_classes=3)
    expected = labels.closeness_labels(boxes / [30, 40, 30, 40], [1, 2, 3], (30, 40), 3)
    assert texts(example, "image/object/closeness/text") == labels.to_text(expected)


def test_windows_depend_on_seed_and_image_and_on_nothing_else(tmp_path):
    box = [[2, 4, 60, 70]]
    first, again, other_seed, other_image = (
        windows_of(record_of(tmp_path, (90, 120), box, [1], num_classes=1, **options)[0])
        for options in ({}, {}, {"seed": 1}, {"name": "b.png"})
    )
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other_seed).all(axis=1).any()
    assert not np.isclose(first, other_image).all(axis=1).any()


def test_lists_of_wrong_length_are_refused(tmp_path):
    example, _ = record_of(tmp_path, (30, 40), [[2, 4, 20, 30]], [1], num_classes=1)
    fine = {
        "windows": np.zeros([2, 4]),
        "window_labels": ["1 0", "1 0"],
        "closeness": ["1 0"],
        "edgemask": np.zeros([2, 64, 64]),
    }
    example_lib.add_auxiliary_labels(example, **fine)
    for wrong, says in (
        ({"window_labels": ["1 0"]}, "labels/text has 1 values, expected 2"),
        ({"closeness": []}, "closeness/text has 0 values, expected 1"),
        ({"edgemask": np.zeros([64, 64])}, r"shape \(64, 64\), expected \[2"),
    ):
        with pytest.raises(ValueError, match=says):
            example_lib.add_auxiliary_labels(example, **{**fine, **wrong})
