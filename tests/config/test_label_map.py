"""Label maps: parsing, errors and lookup."""

import logging
import time

import pytest

from object_detection_mtl.config import label_map, samples
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.config.pipeline import ConfigError


def test_items_come_sorted_with_display_names():
    categories = label_map.parse(
        'item { id: 5 name: "dog" } item { id: 2 name: "cat" display_name: "House cat" }'
    )
    assert categories == [Category(2, "cat", "House cat"), Category(5, "dog", "dog")]
    assert label_map.max_id(categories) == 5


def test_background_is_skipped():
    text = 'item { id: 0 name: "background" } item { id: 1 name: "cat" }'
    assert label_map.parse(text) == [Category(1, "cat", "cat")]


def test_fields_of_other_tasks_are_ignored():
    text = 'item { id: 1 name: "p" keypoints { id: 0 label: "nose" } frequency: RARE }'
    assert label_map.parse(text) == [Category(1, "p", "p")]


def test_a_display_name_replaces_a_missing_name():
    assert label_map.parse('item { id: 1 display_name: "cat" }') == [Category(1, "cat", "cat")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no class"),
        ('item { id: 0 name: "background" }', "has no class"),
        ('item { name: "cat" }', 'item "cat" has no id'),
        ('item { id: 0 name: "cat" }', 'item "cat" has id 0; expected an id of at least 1'),
        ('item { id: -3 name: "cat" }', "has id -3"),
        ("item { id: 7 }", "item with id 7 has no name"),
        ("item { }", "item number 1 has no id"),
        ('item { id: 1 name: "a" } item { id: 1 name: "b" }', "more than one item has id 1"),
        ('item { id: 1 name: "a" } item { id: 2 name: "a" }', "more than one item has name a"),
        ('item { id: 1 nam: "a" }', 'line 1: .*did you mean "name"'),
        ('{"cat": 1}', "line 1"),
    ],
)
def test_wrong_label_maps_are_explained(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        label_map.parse(text, source="classes.pbtxt")
    assert "classes.pbtxt" in str(error.value)


def test_files(tmp_path):
    path = tmp_path / "classes.pbtxt"
    path.write_text('item { id: 1 name: "blood cell" }')
    assert label_map.load(path) == [Category(1, "blood cell", "blood cell")]
    with pytest.raises(FileNotFoundError, match='did you mean "classes.pbtxt"'):
        label_map.load(tmp_path / "clases.pbtxt")


def test_names_are_looked_up_by_both_names():
    categories = [Category(1, "a", "b"), Category(2, "b", "c")]
    assert label_map.ids_by_name(categories) == {"a": 1, "b": 2, "c": 2}


def test_num_classes_must_reach_the_highest_id(caplog):
    categories = [Category(1, "a", "a"), Category(4, "d", "d")]
    with caplog.at_level(logging.WARNING):
        label_map.check_num_classes(categories, 4)
    assert not caplog.records
    message = r"num_classes = 3 is less than the highest id .* 4: .*no output for d \(4\)"
    with pytest.raises(ConfigError, match=message):
        label_map.check_num_classes(categories, 3)
    with caplog.at_level(logging.WARNING):
        label_map.check_num_classes(categories, 6)
    assert "num_classes = 6" in caplog.text


def test_the_label_maps_of_the_package():
    voc = label_map.load(samples.path("pascal_label_map.pbtxt"))
    names = [category.name for category in voc]
    assert len(voc) == label_map.max_id(voc) == 20
    assert names == sorted(names)
    assert label_map.ids_by_name(voc)["person"] == 15
    coco = label_map.load(samples.path("mscoco_label_map.pbtxt"))
    assert (len(coco), label_map.max_id(coco)) == (80, 90)
    absent = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert {category.id for category in coco} == set(range(1, 91)) - absent


def test_the_time_is_linear_in_the_number_of_classes_and_long_names_are_shortened():
    def seconds(number):
        items = "".join(f'item {{ id: {i} name: "class {i}" }}\n' for i in range(1, number + 1))
        start = time.process_time()
        assert len(label_map.parse(items)) == number
        return time.process_time() - start

    assert seconds(20_000) < 10 * seconds(4_000)  # 25 times if it were quadratic
    long = "x" * 1_000_000
    with pytest.raises(ConfigError, match="more than one item has name xxx") as raised:
        label_map.parse(f'item {{ id: 1 name: "{long}" }} item {{ id: 2 name: "{long}" }}')
    assert len(str(raised.value)) < 500
    with pytest.raises(ConfigError) as raised:
        label_map.parse(f'item {{ id: -1 name: "{long}" }}')
    assert len(str(raised.value)) < 500
