"""COCO instances files: parsed content, and messages about invalid files."""

import json

import pytest

from object_detection_mtl.dataset_tools import coco_annotations
from tests.dataset_tools import coco_files
from tests.dataset_tools.coco_files import image, thing
from tests.dataset_tools.voc_files import SHARED


def test_images_in_the_order_of_the_file_with_their_objects(tmp_path):
    path = coco_files.write(
        tmp_path,
        [image(7), image(2, "sub/b.png", None), image(5)],
        [
            thing(5, 90, 1, 2, 3, 4, area=7.5, iscrowd=1),
            thing(7, 3, 0.5, 1.5, 2, 2),
            thing(5, 3, -1, 0, 2, 3),
        ],
    )
    file = coco_annotations.read_coco_file(path)
    assert file.categories == {"cat": 3, "dog": 90}
    assert [listed.id for listed in file.images] == [7, 2, 5]
    first, second, third = file.images
    assert first.objects == (coco_annotations.CocoObject("cat", 0.5, 1.5, 2, 2, 4.0, False),)
    assert (second.file_name, second.height, second.objects) == ("sub/b.png", None, ())
    assert third.objects == (
        coco_annotations.CocoObject("dog", 1, 2, 3, 4, 7.5, True),
        coco_annotations.CocoObject("cat", -1, 0, 2, 3, 6.0, False),
    )
    assert (first.height, first.width) == (30, 40)
    assert file.num_unlisted == 0


def test_a_file_of_test_images_has_no_annotations(tmp_path):
    file = coco_annotations.read_coco_file(coco_files.write(tmp_path, [image(1)], None))
    assert [listed.objects for listed in file.images] == [()]


def test_annotations_of_unlisted_images_are_counted(tmp_path):
    annotations = [thing(2, 3, 0, 0, 1, 1)] * 3 + [thing(1, 3, 0, 0, 1, 1)]
    path = coco_files.write(tmp_path, [image(1)], annotations)
    assert coco_annotations.read_coco_file(path).num_unlisted == 3


def test_ids_may_be_texts_and_whole_floats(tmp_path):
    annotation = thing("a", 3, 0, 0, 1, 1) | {"category_id": 3.0}
    images = [image("a", "a.jpg"), image(4.0, "b.jpg")]
    file = coco_annotations.read_coco_file(coco_files.write(tmp_path, images, [annotation]))
    assert [listed.id for listed in file.images] == ["a", 4]
    assert len(file.images[0].objects) == 1


def read(tmp_path, images, annotations, **more):
    return coco_annotations.read_coco_file(coco_files.write(tmp_path, images, annotations, **more))


def test_ids_that_are_equal_as_texts_join(tmp_path):
    images = [image(1, "a"), image("2", "b"), image("003", "c"), image(3, "d")]
    annotations = [
        thing("1", 3, 0, 0, 1, 1),
        thing(2, "3", 0, 0, 1, 1),
        thing("003", 3, 0, 0, 1, 1),
        thing("003", 90, 0, 0, 1, 1),
        thing(3.0, 3, 0, 0, 1, 1),
    ]
    categories = [{"id": "3", "name": "cat"}, {"id": 90, "name": "dog"}]
    file = read(tmp_path, images, annotations, categories=categories)
    assert [len(listed.objects) for listed in file.images] == [1, 1, 2, 1]


def test_unused_parents_and_unused_equal_names_are_dropped_and_said(tmp_path):
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "animals"},
        {"id": 2, "name": "cat", "supercategory": "animals"},
        {"id": 3, "name": "person", "supercategory": "person"},
    ]
    file = read(tmp_path, [image(1)], [thing(1, 2, 0, 0, 1, 1)], categories=categories)
    assert file.categories == {"cat": 2, "person": 3}
    assert coco_annotations.ids_are_class_numbers(file)
    assert file.notes == (
        "categories dropped, parent of others without annotations: 1 ('animals')",
        "categories dropped, unused, with the name of another: 1 ('cat')",
    )
    used = [thing(1, number, 0, 0, 1, 1) for number in (0, 2)]
    assert "animals" in read(tmp_path, [image(1)], used, categories=categories).categories


def test_values_that_tools_leave_empty_are_taken_or_counted(tmp_path):
    change = [
        {"bbox": []},
        {"bbox": None},
        {"iscrowd": None},
        {"iscrowd": "1"},
        {"iscrowd": True},
        {"area": None},
        {"area": -1},
        {"area": "2.5"},
        {"bbox": ["1", "2", "3.5", 4]},
    ]
    size = {"height": "30", "width": 40.0}
    file = read(tmp_path, [image(1) | size], [BOX | one for one in change])
    objects = file.images[0].objects
    assert [item.is_crowd for item in objects] == [False, True, True, False, False, False, False]
    assert [item.area for item in objects] == [1, 1, 1, 1, 1, 2.5, 14]
    assert (objects[-1].x, objects[-1].width) == (1, 3.5)
    assert (file.images[0].height, file.images[0].width) == (30, 40)
    assert file.notes == (
        "annotations skipped, bbox is empty: 2 (annotations[0]; annotations[1])",
        "areas computed from the box, the file has none or an unusable one: 2 (annotations[5]: "
        "None; annotations[6]: -1)",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": box}
        for box in (
            [1, 2, 3],
            [1, 2, 3, 4, 0.9],
            [1, None, 3, 4],
            {"x": 1},
            "1,2,3,4",
            [[1, 2, 3, 4]],
        )
    ]
    + [{"category_id": key} for key in (None, 4, "03", [3], True, "")]
    + [{"image_id": key} for key in (None, [1], True, "", float("nan"))],
)
def test_an_unusable_annotation_is_skipped_and_named(tmp_path, change):
    file = read(tmp_path, [image(1)], [BOX, BOX | change | {"id": 7}])
    assert len(file.images[0].objects) == 1
    [note] = file.notes
    assert note.startswith("annotations skipped, unusable: 1 (annotations[1] (id 7): ")
    assert f"{next(iter(change))} is " in note


def test_an_annotation_without_box_is_skipped_and_named(tmp_path):
    file = read(tmp_path, [image(1)], [BOX, {"image_id": 1, "keypoints": []}, None])
    assert len(file.images[0].objects) == 1
    assert file.notes == (
        "annotations skipped, unusable: 2 (annotations[1]: it has no bbox; expected a COCO "
        "instances file, not captions or panoptic; annotations[2]: it is None, expected an object)",
    )


@pytest.mark.parametrize("area", ["", "n/a", float("nan"), [], True, 1e300, {}])
def test_an_unusable_area_is_computed_and_counted(tmp_path, area):
    file = read(tmp_path, [image(1)], [BOX | {"area": area}])
    assert file.images[0].objects[0].area == 1.0
    assert "areas computed from the box, the file has none or an unusable one: 1" in file.notes[0]


def test_texts_of_iscrowd(tmp_path):
    values = ["", "false", "no", "true", "YES", 1.0, 2, -1, [], "crowd", 0.5]
    file = read(tmp_path, [image(1)], [BOX | {"iscrowd": value} for value in values])
    found = [item.is_crowd for item in file.images[0].objects]
    assert found == [False, False, False, True, True, True] + [False] * 5
    assert file.notes == (
        "annotations whose iscrowd is not 0 or 1, 0 is used: 5 (annotations[6]: 2; "
        "annotations[7]: -1; annotations[8]: []; ...)",
    )


@pytest.mark.parametrize(
    "entry", [None, image(2) | {"file_name": None}, image(2, "\ud800.jpg"), {"file_name": "a.jpg"}]
)
def test_an_unusable_entry_of_an_image_is_skipped_and_named(tmp_path, entry):
    file = read(tmp_path, [image(1), entry], [BOX])
    assert [listed.id for listed in file.images] == [1]
    assert file.notes[0].startswith("entries of images skipped, unusable: 1 (images[1]")


@pytest.mark.parametrize("width", ["40px", -1, [], True, float("nan"), ""])
def test_an_unusable_size_is_that_of_the_file(tmp_path, width):
    file = read(tmp_path, [image(1) | {"width": width}], [BOX])
    assert (file.images[0].height, file.images[0].width) == (None, None)
    assert file.notes[0].startswith("images whose height or width is not a number of pixels")


def test_category_ids_that_are_texts_join_and_are_numbered_in_their_order(tmp_path):
    categories = [{"id": "5f3a", "name": "dog"}, {"id": "001", "name": "cat"}]
    annotations = [BOX | {"category_id": "001"}, BOX | {"category_id": "5f3a"}]
    file = read(tmp_path, [image(1)], annotations, categories=categories)
    assert [item.category for item in file.images[0].objects] == ["cat", "dog"]
    assert file.categories == {"dog": 1, "cat": 2}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_of_json(tmp_path, encoding):
    content = {"images": [image(1)], "categories": [{"id": 1, "name": "Käfer"}]}
    path = tmp_path / "instances.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert coco_annotations.read_coco_file(path).categories == {"Käfer": 1}


def test_one_file_serves_one_entry(tmp_path):
    directory = coco_files.write_images(tmp_path / "in", {"a.jpg": b"", "b.jpg": b""})

    def found(*names):
        listed = [image(number, name) for number, name in enumerate(names)]
        file = read(tmp_path, listed, [])
        return coco_annotations.find_images(directory, file)

    assert found("x/a.jpg", "y/b.jpg") == [directory / "a.jpg", directory / "b.jpg"]
    assert found("x/a.jpg", "y/a.jpg") == [None, None]
    assert found("a.jpg", "y/a.jpg", "x" * 300) == [directory / "a.jpg", None, None]
    with pytest.raises(coco_annotations.CocoError, match="'b.jpg' and './b.jpg' .* name the file"):
        found("b.jpg", "./b.jpg", "x/a.jpg")


def test_names_in_another_form_of_unicode(tmp_path):
    composed, decomposed = "sub/B\u00e4r.jpg", "sub/Ba\u0308r.jpg"
    for written, listed in ((composed, decomposed), (decomposed, composed)):
        directory = coco_files.write_images(tmp_path / str(len(written)), {written: b""})
        file = read(tmp_path, [image(1, listed)], [])
        assert coco_annotations.find_images(directory, file) == [directory / written]


BOX = thing(1, 3, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"images": None}, "no list 'images'; its keys are info, images"),
        ({"images": []}, "the list of images is empty"),
        ({"categories": []}, "the list of categories is empty"),
        ({"categories": [{"id": 1}]}, r"categories\[0\] is {'id': 1}, expected a name and an id"),
        ({"categories": [{"id": 1, "name": "\ud800"}]}, "expected a name and an id"),
        ({"categories": [{"id": 3, "name": "a"}] * 2}, "categories have the same id .*: 3"),
        (
            {
                "categories": [{"id": 3, "name": "a"}, {"id": 4, "name": "a"}],
                "annotations": [BOX, BOX | {"category_id": 4}],
            },
            "categories have the same name more than once: a",
        ),
        ({"images": [image(1), image("1", "a")]}, "images have the same id more than once: 1"),
        ({"images": [image(1, "a"), image(2, "a")]}, "the same file_name more than once: a"),
        ({"images": [image(5)]}, "all 1 annotations belong to images .* image_id '1'; .* as 5"),
        (
            {"annotations": [BOX | {"bbox": [0.5, 0.5, 0.25, 0.25]}] * 2},
            r"all 2 boxes lie in 0..1 \(the first is \[0.5, 0.5, 0.25, 0.25\]\): .* fractions",
        ),
        ({"images": [image(1), image(1)]}, "images have the same id more than once: 1"),
        ({"images": [{"id": 1}]}, r"images\[0\] \(id 1\): file_name is None"),
        ({"images": [{"file_name": "a"}]}, r"images\[0\]: id is None, expected an integer"),
        ({"images": ["a.jpg"]}, r"images\[0\]: it is 'a.jpg', expected an object"),
        (
            {"annotations": [{"image_id": 1, "id": 8, "caption": "A dog."}]},
            r"annotations\[0\] \(id 8\): it has no bbox; .* not captions",
        ),
        ({"annotations": [BOX | {"bbox": [1, 2, 3]}]}, r"bbox is \[1, 2, 3\], expected four"),
        ({"annotations": [BOX | {"bbox": [1, 2, 3, float("nan")]}]}, "bbox is .*nan"),
        ({"annotations": [BOX | {"bbox": [1, 2, 3, "four"]}]}, "bbox is .*'four'"),
        ({"annotations": [BOX | {"bbox": [1, 2, 3, 10**400]}]}, "bbox is .*expected four numbers"),
        ({"annotations": [BOX | {"category_id": True}]}, "category_id is True"),
        ({"annotations": [BOX | {"image_id": float("inf")}]}, "image_id is inf"),
        (
            {"annotations": [BOX | {"category_id": 4}] * 4},
            r"annotations skipped, unusable: all 4 \(annotations\[0\]: category_id is 4, which is "
            r"not the id of a category \(3, 90\); annotations.*; ...\). Correct them",
        ),
        ({"annotations": [BOX | {"category_id": [3]}]}, r"category_id is \[3\]"),
        ({"annotations": [BOX | {"image_id": None}]}, "image_id is None"),
        ({"annotations": {}}, "no list 'annotations'"),
    ],
)
def test_invalid_files_are_explained(tmp_path, change, says):
    path = coco_files.write(tmp_path, [image(1)], [BOX])
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(coco_annotations.CocoError, match=f"instances.json.*{says}"):
        coco_annotations.read_coco_file(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not valid JSON"),
        (b'{"images": [{"id": 1, "fi', r"not valid JSON \(truncated\?\).*char"),
        (b"\xff\xfe{", "is not text in UTF-8 .*; save it in UTF-8"),
        (b'{"images": "K\xe4fer"}', r"is not text in UTF-8 \(invalid .* at byte 13\); save it"),
        (b"[" * 100_000, "not valid JSON"),
        (b"3", "contains a int, expected an object"),
        (b'[{"image_id": 1}]', "contains a list, .*list of detections"),
        (b"{}", "its keys are none"),
        (b"1" * 10_000, "not valid JSON .*digits"),
    ],
)
def test_other_files_are_an_error(tmp_path, data, says):
    path = tmp_path / "instances.json"
    path.write_bytes(data)
    with pytest.raises(coco_annotations.CocoError, match=says):
        coco_annotations.read_coco_file(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--annotations_file: .*none.json' does not exist"):
        coco_annotations.read_coco_file(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="is a directory, expected a .json file"):
        coco_annotations.read_coco_file(tmp_path)


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        ([90, 1, 7], {"b": 1, "c": 7, "a": 90}),
        ([0, 1, 2], {"a": 1, "b": 2, "c": 3}),
        ([5, 1, 1001], {"b": 1, "a": 2, "c": 3}),
    ],
)
def test_category_ids_number_the_classes_where_they_can(tmp_path, ids, numbers):
    categories = [{"id": id, "name": name} for id, name in zip(ids, "abc", strict=True)]
    file = coco_annotations.read_coco_file(coco_files.write(tmp_path, [image(1)], [], categories))
    assert coco_annotations.class_numbers(file) == numbers
    assert coco_annotations.ids_are_class_numbers(file) == (numbers == file.categories)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("sub/b.jpg", "sub/b.jpg"),
        ("/home/someone/a.jpg", "a.jpg"),
        ("C:\\data\\a.jpg", "a.jpg"),
        ("elsewhere/a.jpg", "a.jpg"),
        ("../secret.jpg", None),
        ("none.jpg", None),
        ("sub", None),
    ],
)
def test_images_are_looked_for_inside_the_directory(tmp_path, name, found):
    directory = coco_files.write_images(tmp_path / "in", {"a.jpg": b"", "sub/b.jpg": b""})
    (tmp_path / "secret.jpg").write_bytes(b"")
    expected = directory / found if found else None
    assert coco_annotations.find_image(directory, name) == expected


@pytest.mark.skipif(
    not (SHARED / "data" / "coco_eval").is_dir(), reason="needs the COCO subset beside the project"
)
def test_a_real_file_is_read_whole():
    file = coco_annotations.read_coco_file(
        SHARED / "data" / "coco_eval" / "instances_val2014_100.json"
    )
    assert len(file.images) == 100
    assert file.num_unlisted == 0
    assert (len(file.categories), max(file.categories.values())) == (80, 90)
    objects = [item for listed in file.images for item in listed.objects]
    assert any(item.is_crowd for item in objects)
