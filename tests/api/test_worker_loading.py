"""Detection by a Beam pipeline from Python: the same results, or why workers cannot detect."""

import json

import pytest
from PIL import Image

import object_detection_mtl as odm
from tests.api import tiny_detectors


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    run = tmp_path_factory.mktemp("workers") / "run"
    return odm.load_detector(tiny_detectors.write_run(run))


@pytest.fixture
def image(tmp_path):
    Image.fromarray(tiny_detectors.image()).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.mark.slow
def test_workers_detect_the_same(detector, image, tmp_path):
    pytest.importorskip("apache_beam")
    here = detector.detect_files(image, tmp_path / "here", save_images=False)
    there = detector.detect_files(
        image, tmp_path / "there", save_images=False, runner="DirectRunner"
    )
    assert there.num_done == here.num_done == 1
    expected = json.loads((tmp_path / "here/detections.json").read_text())
    [found] = (tmp_path / "there").glob("detections*.json")
    found = json.loads(found.read_text())
    assert [row["category_id"] for row in found] == [row["category_id"] for row in expected]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected])


def test_weights_in_memory_cannot_be_loaded_by_workers(image, tmp_path):
    new = odm.build_detector(tiny_detectors.config())
    with pytest.raises(ValueError, match="in memory only.*; train or export it"):
        new.detect_files(image, tmp_path / "out", runner="DirectRunner")


def test_other_engines_are_exported_first(detector, image, tmp_path, monkeypatch):
    monkeypatch.setattr(detector, "engine", "openvino")
    with pytest.raises(ValueError, match="would convert the model in every worker; export it"):
        detector.detect_files(image, tmp_path / "out", runner="DirectRunner")


def test_options_of_a_runner_need_one(detector, image, tmp_path):
    with pytest.raises(ValueError, match="num_shards need a runner"):
        detector.detect_files(image, tmp_path / "out", num_shards=2)
    with pytest.raises(ValueError, match="image_ids are for one machine"):
        detector.detect_files(image, tmp_path / "out", runner="DirectRunner", image_ids={"a": 1})
