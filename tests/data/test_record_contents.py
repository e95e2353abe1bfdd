"""Examination of boxes and classes before training or evaluation."""

import re

import numpy as np
import pytest

from object_detection_mtl.data import record_contents, record_files
from tests.data.record_files import example, with_floats, write

SIZE = (640, 480)
BOXES = np.array([[0.1, 0.2, 0.9, 0.98], [0.3, 0.1, 0.5, 0.6], [0.02, 0.3, 0.97, 0.5]])
PIXELS = BOXES * [480, 640, 480, 640]
FORMS = {
    "pixels": (PIXELS, r"627\.2 and look like pixels.*divide them by the he"),
    "percent": (BOXES * 100, r"lie in 2 to 98 and look like percent.*divide them by 100"),
    "thousandths": (BOXES * 1000, r"look like thousandths of the image.*divide them by 1000"),
    "swapped": (BOXES[:, [2, 3, 0, 1]], "minimum and maximum look swapped"),
    "upside down": (BOXES[:, [2, 1, 0, 3]], "ymin is greater than ymax in 12 of them"),
    "sides": (
        np.array([[0.6, 0.2, 0.3, 0.5], [0.1, 0.5, 0.5, 0.4], [0.1, 0.2, 0.8, 0.7]]),
        "ymax, xmax look like height and width of the box",
    ),
    "center and size": (
        np.array([[0.5, 0.59, 0.8, 0.78], [0.4, 0.35, 0.2, 0.5], [0.495, 0.4, 0.95, 0.2]]),
        "and look like the center and the size of the box. .*: subtract and add half of the size",
    ),
    "order": (
        np.array([[0.2, 0.3, 0.1, 0.5], [0.6, 0.9, 0.2, 0.3], [0.4, 0.8, 0.3, 0.9]]),
        "look like the order ymin, ymax, xmin, xmax",
    ),
    "negative": (-BOXES, "and are negative.*: change their sign"),
    "from -1 to 1": (2.0 * BOXES - 1.0, "look like -1 to 1.*: add 1 and divide them by 2"),
    "no area": (BOXES[:, [0, 1, 0, 1]], "have no area inside the image"),
    "not finite": (BOXES * np.nan, "have no area inside the image"),
}
NAMES = {1: "cat", 2: "dog"}
NUMBERS = {"cat": 1, "dog": 2}


def contents(tmp_path, *records, numbers=None, classes=NAMES):
    path = write(tmp_path / "a.record", *records)
    index = record_files.index_records(str(path))
    return record_contents.examine_records(index, numbers, classes)


def record(boxes, **options):
    boxes = np.atleast_2d(boxes)
    small = {"data": b"", "size": SIZE, "classes": [1] * len(boxes)}
    return example(boxes=boxes, **{**small, **options})


@pytest.mark.parametrize("form", FORMS)
def test_boxes_of_another_form_are_named(tmp_path, form):
    boxes, says = FORMS[form]
    found = contents(tmp_path, *[record(boxes)] * 4)
    problem = record_contents.form_of_boxes(found)
    assert f"of {4 * len(boxes)} boxes in 4 records cannot be used: they lie in" in problem
    assert re.search(says, problem), problem


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
def test_boxes_divided_by_the_wrong_side(tmp_path, size):
    width, height = size
    for name, y, x in (
        ("y divided by the width and x by the height", height / width, width / height),
        ("x divided by the height", 1.0, width / height),
        ("y divided by the width", height / width, 1.0),
    ):
        boxes = BOXES * [y, x, y, x]
        problem = record_contents.form_of_boxes(contents(tmp_path, *[record(boxes, size=size)] * 4))
        if boxes.max() < 1.0:  # The longer side: nothing is outside.
            assert problem == ""
            continue
        assert " of 12 boxes in 4 records reach outside the image: they lie in" in problem
        assert f"look like {name}. " in problem
        assert problem.endswith("divide y by the height and x by the width")


def test_objects_over_one_border_are_accepted(tmp_path):
    boxes = BOXES * [1.0, 1.1, 1.0, 1.1]
    assert record_contents.form_of_boxes(contents(tmp_path, *[record(boxes)] * 8)) == ""


def test_percent_of_small_images_are_told_from_pixels(tmp_path):
    for scale, size, name in (
        ([48, 64], (64, 48), "pixels"),
        ([100, 100], (64, 48), "percent"),
        ([100, 100], (4000, 3000), "percent"),
    ):
        boxes = BOXES * (scale * 2)
        found = contents(tmp_path, *[record(boxes, size=size)] * 4)
        assert f"look like {name}" in record_contents.form_of_boxes(found)


def test_integers_are_seen_as_pixels(tmp_path):
    made = record(PIXELS)
    for key in ("ymin", "xmin", "ymax", "xmax"):
        feature = made.features.feature[f"image/object/bbox/{key}"]
        values = [round(value) for value in feature.float_list.value]
        feature.Clear()
        feature.int64_list.value.extend(values)
    assert "look like pixels" in record_contents.form_of_boxes(contents(tmp_path, *[made] * 4))


def test_single_mistakes_and_boxes_over_the_border_are_accepted(tmp_path):
    tiles = BOXES * 3 - 1
    found = contents(tmp_path, record(PIXELS[:1]), record(tiles), record(BOXES), record(tiles))
    assert record_contents.form_of_boxes(found) == ""
    assert found.usable == {1: 9}
    assert record_contents.no_object(found) == ""


def test_classes_without_an_object(tmp_path):
    crowd = record(BOXES[:1], classes=[2], is_crowd=[1])
    found = contents(tmp_path, record(BOXES), crowd, record(BOXES[:1] * 0, classes=[2]))
    assert record_contents.missing_classes(found, NAMES) == (
        "no usable object of the class 'dog' (2) in 3 records"
    )
    found = contents(tmp_path, record(BOXES[:2], texts=["dog", "cat"]), numbers=NUMBERS)
    assert record_contents.missing_classes(found, NAMES) == ""


def test_no_object(tmp_path):
    empty = record(np.zeros([0, 4]))
    assert record_contents.no_object(contents(tmp_path, empty, b"garbage")) == (
        "no object at all in 2 records, expected at least one box"
    )
    found = contents(tmp_path, record(BOXES, texts=["cow", "hen", "cow"]), numbers=NUMBERS)
    assert "none of the 3 objects in 1 record is usable: the label map lacks their classes" in (
        record_contents.no_object(found)
    )
    assert "'cow', 'hen'" in record_contents.no_object(found)
    found = contents(tmp_path, record(BOXES, is_crowd=[1, 1, 1]))
    assert "groups (is_crowd)" in record_contents.no_object(found)


def test_lists_of_other_lengths_and_types_are_left_to_the_input_pipeline(tmp_path):
    short = with_floats(record(BOXES), "image/object/bbox/xmin", [0.1])
    texts = record(BOXES)
    texts.features.feature["image/object/bbox/xmin"].bytes_list.value.extend([b"a"] * 3)
    labels = record(BOXES)
    labels.features.feature["image/object/class/label"].bytes_list.value.extend([b"a"] * 3)
    found = contents(tmp_path, short, texts, labels, record(BOXES))
    assert record_contents.form_of_boxes(found) == ""
    assert found.usable == {1: 3}


def test_few_records_are_read_unless_something_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(record_contents, "MAX_EXAMINED", 4)
    monkeypatch.setattr(record_contents, "MAX_SEARCHED", 6)
    records = [record(BOXES)] * 8 + [record(BOXES, classes=[2, 2, 2]), record(BOXES)]
    found = contents(tmp_path, *records, classes=[1])
    assert (found.num_examined, found.scope) == (4, "4 examined of 10 records")
    assert contents(tmp_path, *records).num_examined == 6
    empty = [record(np.zeros([0, 4]))] * 9
    last = contents(tmp_path, *empty[1:], record(BOXES, classes=[2, 2, 2]), empty[0])
    assert (last.num_examined, last.usable) == (10, {2: 3})
