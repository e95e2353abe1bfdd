"""Detections as JSON in the COCO results format."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.writers import coco_results

NAMES = {1: "cat", 2: "dog"}


def some_entries():
    boxes = np.array([[0.1, 0.2, 0.6, 0.4], [0.0, 0.0, 1.0, 1.0]], np.float32)
    found = ImageDetections(boxes, np.array([0.75, 0.123456789], np.float32), np.array([2, 7]))
    yield coco_results.image_result(1, {"file_name": "photos/a.jpg"}, 200, 100, found)
    yield coco_results.image_result(
        3, {"file_name": "c.jpg", "source_id": "9"}, 5, 7, found.best(0)
    )


def read(path):
    return json.loads(path.read_text())


def test_rows_of_both_files(tmp_path):
    coco_results.write_results(some_entries(), NAMES, tmp_path)
    assert read(tmp_path / "detections.json") == [
        {
            "image_id": 1,
            "file_name": "photos/a.jpg",
            "category_id": 2,
            "bbox": [20.0, 20.0, 20.0, 100.0],
            "score": 0.75,
        },
        {
            "image_id": 1,
            "file_name": "photos/a.jpg",
            "category_id": 7,
            "bbox": [0.0, 0.0, 100.0, 200.0],
            "score": 0.123457,
        },
    ]
    assert read(tmp_path / "images.json") == {
        "images": [
            {"id": 1, "file_name": "photos/a.jpg", "width": 100, "height": 200},
            {"id": 3, "file_name": "c.jpg", "source_id": "9", "width": 7, "height": 5},
        ],
        "categories": [
            {"id": 1, "name": "cat"},
            {"id": 2, "name": "dog"},
            {"id": 7, "name": "class 7"},
        ],
        "annotations": [],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detections.json", "images.json"]


def test_pycocotools_reads_both_files(tmp_path):
    coco_results.write_results(some_entries(), NAMES, tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        images = COCO(str(tmp_path / "images.json"))
        detections = images.loadRes(str(tmp_path / "detections.json"))
    assert [row["area"] for row in detections.loadAnns(detections.getAnnIds([1]))] == [2000, 20000]
    assert [category["name"] for category in detections.loadCats(2)] == ["dog"]


def test_empty_results(tmp_path):
    coco_results.write_results([], {}, tmp_path)
    assert read(tmp_path / "detections.json") == []
    assert read(tmp_path / "images.json") == {"images": [], "categories": [], "annotations": []}


def test_earlier_files_are_replaced_atomically(tmp_path, monkeypatch):
    coco_results.write_results(some_entries(), NAMES, tmp_path)
    before = (tmp_path / "images.json").read_text()
    nothing = ImageDetections(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    unwritable = coco_results.image_result(np.int64(1), {"file_name": "a.jpg"}, 1, 1, nothing)
    with pytest.raises(TypeError):  # json takes no numpy integer
        coco_results.write_results([unwritable], {}, tmp_path)
    assert (tmp_path / "images.json").read_text() == before
