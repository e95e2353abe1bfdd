"""Label maps in the OD API's forms."""

import pytest

from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.odapi.utils import label_map_util

TEXT = """
item { id: 0 name: "background" }
item { id: 3 name: "cat" display_name: "House cat" }
item { id: 1 name: "dog" }
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "map.pbtxt").write_text(TEXT)
    return str(tmp_path / "map.pbtxt")


def test_dictionaries_of_names(path):
    ids = {"background": 0, "cat": 3, "dog": 1}
    assert label_map_util.get_label_map_dict(path) == ids
    assert label_map_util.get_label_map_dict(label_map_util.load_labelmap(path)) == ids
    assert label_map_util.get_label_map_dict(path, fill_in_gaps_and_background=True) == {
        **ids,
        "2": 2,
    }


def test_an_item_without_display_name_has_its_name(path):
    assert label_map_util.get_label_map_dict(path, use_display_name=True) == {
        "background": 0,
        "House cat": 3,
        "dog": 1,
    }


def test_category_index(path):
    index = {3: {"id": 3, "name": "House cat"}, 1: {"id": 1, "name": "dog"}}
    assert label_map_util.create_category_index_from_labelmap(path) == index
    assert label_map_util.create_category_index_from_labelmap(path, use_display_name=False) == {
        3: {"id": 3, "name": "cat"},
        1: {"id": 1, "name": "dog"},
    }
    label_map = label_map_util.load_labelmap(path)
    categories = label_map_util.convert_label_map_to_categories(
        label_map, max_num_classes=90, use_display_name=True
    )
    assert label_map_util.create_category_index(categories) == index
    assert label_map_util.get_max_label_map_index(label_map) == 3


def test_categories_above_the_number_of_classes_are_skipped(path):
    label_map = label_map_util.load_labelmap(path)
    found = label_map_util.convert_label_map_to_categories(label_map, max_num_classes=2)
    assert found == [{"id": 1, "name": "dog"}]


def test_categories_without_a_label_map():
    found = label_map_util.convert_label_map_to_categories(None, max_num_classes=2)
    assert found == [{"id": 1, "name": "category_1"}, {"id": 2, "name": "category_2"}]


def test_negative_ids_are_refused(tmp_path):
    (tmp_path / "map.pbtxt").write_text('item { id: -1 name: "cat" }')
    with pytest.raises(ConfigError, match="cat.* id -1; expected an id of at least 1"):
        label_map_util.load_labelmap(tmp_path / "map.pbtxt")


def test_the_proto_is_that_of_the_package(path):
    from object_detection_mtl.odapi.protos import string_int_label_map_pb2

    assert isinstance(
        label_map_util.load_labelmap(path), string_int_label_map_pb2.StringIntLabelMap
    )
