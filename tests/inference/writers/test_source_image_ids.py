"""Detections with the image ids of their dataset."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.writers import coco_results, source_image_ids

IMAGES = [
    {"id": 700, "file_name": "a.jpg", "width": 100, "height": 200},
    {"id": 42, "file_name": "val/b.jpg", "width": 100, "height": 200},
    {"id": 9, "file_name": "c.jpg", "width": 7, "height": 5},
]


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "instances.json"
    categories = [{"id": 1, "name": "cat"}]
    path.write_text(json.dumps({"images": IMAGES, "categories": categories, "annotations": []}))
    return path


def entries(*descriptions):
    found = ImageDetections(np.array([[0.1, 0.2, 0.6, 0.4]]), np.array([0.75]), np.array([1]))
    for number, description in enumerate(descriptions, start=1):
        yield coco_results.image_result(number, description, 200, 100, found)


def test_ids_by_file_name_by_path_and_by_source_id(annotations):
    ids = source_image_ids.read_image_ids(annotations)
    found = source_image_ids.with_source_ids(
        entries(
            {"file_name": "photos/a.jpg"},
            {"file_name": "photos/val/b.jpg"},
            {"file_name": "other.jpg", "source_id": "9"},
        ),
        ids,
    )
    numbers = [(e["image"]["id"], e["detections"][0]["image_id"]) for e in found]
    assert numbers == [(700, 700), (42, 42), (9, 9)]


def test_pycocotools_loads_the_detections(annotations, tmp_path):
    ids = source_image_ids.read_image_ids(annotations)
    made = source_image_ids.with_source_ids(entries({"file_name": "photos/a.jpg"}), ids)
    coco_results.write_results(made, {1: "cat"}, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO(str(annotations)).loadRes(str(tmp_path / "detections.json"))
    assert loaded.getAnnIds(imgIds=[700]) == [1]


def test_images_without_annotations_are_named(annotations, caplog):
    ids = source_image_ids.read_image_ids(annotations)
    made = source_image_ids.with_source_ids(entries({"file_name": "b.jpg"}), ids)
    assert list(made) == []
    assert "1 images are not in the annotations file" in caplog.text
    assert "b.jpg" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"images": [{"id": 1}]}'])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json: expected annotations in COCO's format"):
        source_image_ids.read_image_ids(tmp_path / "a.json")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.json does not exist"):
        source_image_ids.read_image_ids(tmp_path / "b.json")
