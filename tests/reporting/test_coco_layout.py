import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from object_detection_mtl.reporting.coco_layout import write_coco_layout
from object_detection_mtl.reporting.detection_files import read_detections
from object_detection_mtl.reporting.groundtruth_files import read_groundtruth
from tests.reporting.dataset_files import HEIGHT, WIDTH, coco_results, encoded_image, write_voc
from tests.reporting.hand_made import CAT, A, evaluation_set, image


@pytest.fixture
def layout(tmp_path):
    truth = read_groundtruth(write_voc(tmp_path / "voc"))
    (tmp_path / "results.json").write_text(json.dumps(coco_results()))
    return write_coco_layout(read_detections(tmp_path / "results.json", truth), tmp_path / "out")


def test_pycocotools_reads_labels_and_predictions(layout):
    truth = COCO(layout / "labels.json")
    assert [item["file_name"] for item in truth.dataset["images"]] == ["a.jpg", "b.jpg", "c.jpg"]
    assert truth.dataset["images"][0]["height"] == HEIGHT
    first = truth.loadAnns(truth.getAnnIds(imgIds=[1]))
    assert [item["bbox"] for item in first] == [[2, 4, 20, 20], [30, 10, 20, 20]]
    assert [item["difficult"] for item in first] == [0, 1]
    found = truth.loadRes(str(layout / "predictions.json"))
    assert [item["score"] for item in found.loadAnns(found.getAnnIds(imgIds=[1]))] == [0.9, 0.25]


def test_the_layout_can_be_evaluated_again(layout):
    truth = read_groundtruth(layout / "labels.json", image_dir=layout / "data")
    made = read_detections(layout / "predictions.json", truth)
    assert [len(item.detections.scores) for item in made.images] == [2, 1, 0]
    assert all(item.read_bytes() for item in made.images)


def test_supervision_imports_it(layout):
    reason = "needs pip install --no-deps supervision pydeprecate"
    supervision = pytest.importorskip("supervision", reason=reason)
    dataset = supervision.DetectionDataset.from_coco(
        images_directory_path=str(layout / "data"), annotations_path=str(layout / "labels.json")
    )
    assert len(dataset) == 3
    assert dataset.classes == ["cat", "dog"]
    found = {path.rpartition("/")[2]: (pixels, boxes) for path, pixels, boxes in dataset}
    pixels, boxes = found["a.jpg"]
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(boxes.xyxy, [[2, 4, 22, 24], [30, 10, 50, 30]])
    assert boxes.class_id.tolist() == [0, 1]


def test_names_are_unique_and_stay_in_the_directory(tmp_path):
    def gone():
        raise FileNotFoundError

    data = encoded_image(0, "PNG")
    images = [
        image([(A, CAT)], [], "../x y", read_bytes=lambda: data),
        image([], [], ".._x y", read_bytes=lambda: data),
        image([], [], "gone.jpg", read_bytes=gone),
    ]
    directory = write_coco_layout(evaluation_set(images), tmp_path)
    labels = json.loads((directory / "labels.json").read_text())
    names = [item["file_name"] for item in labels["images"]]
    assert names == [".._x_y.png", ".._x_y-2.png", "gone.jpg"]
    assert sorted(path.name for path in (directory / "data").iterdir()) == sorted(names[:2])
