import dataclasses
import json

import numpy as np
import pytest

from object_detection_mtl.reporting.detection_files import read_detections
from object_detection_mtl.reporting.groundtruth_files import read_groundtruth
from tests.reporting.dataset_files import (
    coco_results,
    write_coco,
    write_records,
    write_voc,
    write_voc_texts,
)


@pytest.fixture
def truth(tmp_path):
    return read_groundtruth(write_voc(tmp_path / "voc"))


@pytest.mark.parametrize("kind", ["coco", "voc", "records"])
@pytest.mark.parametrize("truth_kind", ["coco", "voc", "records"])
def test_every_format_joins_every_ground_truth(kind, truth_kind, tmp_path):
    truth_path = {
        "coco": lambda: write_coco(tmp_path / "truth.json"),
        "voc": lambda: write_voc(tmp_path / "truth"),
        "records": lambda: write_records(tmp_path / "truth.record"),
    }[truth_kind]()
    path = tmp_path / "results.json"
    if kind == "coco":
        path.write_text(json.dumps(coco_results()))
    else:
        writer = write_voc_texts if kind == "voc" else write_records
        path = writer(tmp_path / f"results-{kind}")
    made = read_detections(path, read_groundtruth(truth_path), name="mine")
    first, second, third = (item.detections for item in made.images)
    np.testing.assert_allclose(first.boxes, [[4, 2, 24, 22], [10, 30, 20, 50]], atol=1e-5)
    np.testing.assert_allclose(first.scores, [0.9, 0.25], 1e-6)
    assert first.classes.tolist() == [1, 2]
    np.testing.assert_allclose(second.boxes, [[0, 0, 38, 40]], atol=1e-5)
    assert len(third.scores) == 0
    assert made.name == "mine"


def results_with(tmp_path, **changes):
    rows = coco_results()
    rows[0] = {**rows[0], **changes}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": float("nan")}, "entry 0: score is nan, expected a finite number"),
        ({"score": "high"}, "entry 0: score is 'high'"),
        ({"bbox": [1, 2, 3]}, r"entry 0: bbox is \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, float("inf")]}, "entry 0: bbox is"),
        ({"category_id": 1.5}, "entry 0: category_id is 1.5"),
        ({"category_id": "1"}, "entry 0: category_id is '1', expected an integer"),
        ({"category_id": 9}, r"entry 0: category_id 9 is not a class .* \(1 cat, 2 dog\)"),
        ({"category_id": 10**30}, "entry 0: category_id 10{30} is not a class"),
        ({"category_id": 1e300}, r"entry 0: category_id 1e\+300 is not a class"),
        ({"score": 10**400}, "entry 0: score is 10{58}"),
        ({"bbox": [0, 0, 10**400, 1]}, "entry 0: bbox is"),
        ({"main_category_id": "cat", "main_score": 0.5}, "entry 0: main_category_id is 'cat'"),
        ({"main_category_id": 9, "main_score": 0.5}, "entry 0: main_category_id 9 is not a class"),
        ({"main_category_id": 1, "main_score": "x"}, "entry 0: main_score is 'x'"),
        ({"main_category_id": 1}, "entry 0: main_score is None"),
        ({"image_id": 77, "file_name": None}, "1 detection of 1 image .*: 77"),
        ({"image_id": 12, "file_name": "x.jpg"}, r"1 detection of 1 image .*: x\.jpg"),
    ],
)
def test_a_wrong_entry_is_one_line_with_its_place(changes, message, truth, tmp_path):
    with pytest.raises(ValueError, match=message) as error:
        read_detections(results_with(tmp_path, **changes), truth)
    assert "results.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "is not valid JSON"),
        ("{}", "holds an object, expected COCO results"),
        ("[1]", "entry 0 is 1, expected an object"),
        ('[{"image_id": 1}]', "entry 0 has no 'category_id'"),
    ],
)
def test_a_file_that_is_not_coco_results(text, message, truth, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_detections(path, truth)


def test_the_numbers_of_an_unknown_class_are_those_of_the_file(tmp_path):
    truth = read_groundtruth(write_coco(tmp_path / "truth.json"))
    renumbered = dataclasses.replace(truth, category_numbers={17: 1, 18: 2})
    with pytest.raises(ValueError, match=r"category_id 1 is not a class .* \(17 cat, 18 dog\)"):
        read_detections(results_with(tmp_path), renumbered)
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**coco_results()[0], "category_id": 18}, *coco_results()[1:]]))
    made = read_detections(path, renumbered, skip_unknown=True)
    assert made.images[0].detections.classes.tolist() == [2]
    assert made.notes == ("Skipped 2 detections of classes that the ground truth lacks.",)


def test_results_of_other_encodings(truth, tmp_path):
    path = tmp_path / "results.json"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(json.dumps(coco_results()).encode(encoding))
        assert len(read_detections(path, truth).images[0].detections.scores) == 2


def fractions(row):
    x, y, width, height = row["bbox"]
    return {**row, "bbox": [x / 60, y / 40, width / 60, height / 40]}


def test_boxes_that_are_fractions_are_refused(truth, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(list(map(fractions, coco_results()))))
    with pytest.raises(ValueError, match=r"results\.json: all 3 boxes lie in 0\.\.1"):
        read_detections(path, truth)
    directory = tmp_path / "texts"
    directory.mkdir()
    (directory / "cat.txt").write_text("a 0.5 0.1 0.1 0.5 0.5")
    with pytest.raises(ValueError, match=r"texts: all 1 boxes lie in 0\.\.1"):
        read_detections(directory, truth)


def test_no_detections_at_all(truth, tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[]")
    made = read_detections(path, truth)
    assert [len(item.detections.scores) for item in made.images] == [0, 0, 0]


def test_the_file_name_decides_whatever_directory_and_number(tmp_path):
    # detect_objects --images=DIR writes paths, and numbers that other images of a COCO file have.
    truth = read_groundtruth(write_coco(tmp_path / "truth.json"))
    rows = [{**row, "file_name": f"new/images/{row['file_name']}"} for row in coco_results()]
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**row, "image_id": 13} for row in rows]))
    made = read_detections(path, truth)
    assert [len(item.detections.scores) for item in made.images] == [2, 1, 0]


def test_class_names_beside_the_results_are_compared(tmp_path):
    # A set without cats: its classes are numbered by name, and dog is 1.
    voc = write_voc(tmp_path / "voc")
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([{**coco_results()[2], "category_id": 1}]))
    truth = read_groundtruth(voc, set_name="val")
    assert "assumed 1 dog" in read_detections(path, truth).notes[0]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "images.json").write_text(json.dumps({"categories": names}))
    with pytest.raises(ValueError, match=r"class 1 is 'cat' \(images.json\), .* truth 'dog'"):
        read_detections(path, truth)
    label_map = tmp_path / "map.pbtxt"
    label_map.write_text("item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }")
    truth = read_groundtruth(voc, set_name="val", label_map_path=label_map)
    assert read_detections(path, truth).notes == ()


def test_skipping_every_detection_is_an_error(truth, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{**row, "file_name": "x.jpg"} for row in coco_results()]))
    with pytest.raises(ValueError, match=r"all 3 detections of 1 image .*: x\.jpg; .* Give the"):
        read_detections(path, truth, skip_unknown=True)


def test_unknown_images_can_be_skipped(truth, tmp_path):
    path = results_with(tmp_path, image_id=77, file_name="x.jpg")
    made = read_detections(path, truth, skip_unknown=True)
    assert sum(len(item.detections.scores) for item in made.images) == 2
    assert made.notes


def test_main_scores_of_a_refinement(truth, tmp_path):
    path = results_with(tmp_path, main_category_id=2, main_score=0.4)
    made = read_detections(path, truth)
    assert made.images[0].main_branch is None  # Its second entry has none.
    rows = [{**row, "main_category_id": 2, "main_score": 0.4} for row in coco_results()]
    path.write_text(json.dumps(rows))
    branch = read_detections(path, truth).images[0].main_branch
    assert branch.classes.tolist() == [2, 2]
    assert branch.scores.tolist() == [0.4, 0.4]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 0.5 1 2 3", "cat.txt, line 1 is 'a 0.5 1 2 3'"),
        ("a x 1 2 3 4", "cat.txt, line 1 is"),
        ("a nan 1 2 3 4", "cat.txt, line 1: the score is nan"),
    ],
)
def test_a_wrong_line_of_a_voc_text(line, message, truth, tmp_path):
    directory = tmp_path / "texts"
    directory.mkdir()
    (directory / "cat.txt").write_text(line)
    with pytest.raises(ValueError, match=message):
        read_detections(directory, truth)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_voc_texts_of_other_encodings(encoding, tmp_path):
    voc = write_voc(tmp_path / "voc")
    (voc / "Annotations" / "a.xml").rename(voc / "Annotations" / "\u00e9.xml")
    directory = tmp_path / "texts"
    directory.mkdir()
    (directory / "cat.txt").write_bytes("\u00e9 0.5 2 4 22 24\n".encode(encoding))
    made = read_detections(directory, read_groundtruth(voc))
    found = {image.image_id: image.detections.scores.tolist() for image in made.images}
    assert found == {"\u00e9": [0.5], "b": [], "c": []}


def test_a_voc_text_of_no_class(truth, tmp_path):
    directory = write_voc_texts(tmp_path / "texts")
    (directory / "bird.txt").write_text("")
    with pytest.raises(ValueError, match=r"bird\.txt: the file name does not end with a class"):
        read_detections(directory, truth)
    made = read_detections(directory, truth, skip_unknown=True)
    assert made.notes[-1] == "Skipped 1 file of unknown classes: bird.txt."
    assert made.images[0].detections.scores.tolist() == [0.9, 0.25]


def test_a_class_name_with_a_line_break_leaves_the_message_on_one_line(tmp_path):
    truth = json.loads(write_coco(tmp_path / "truth.json").read_text())
    truth["categories"][0]["name"] = "cat\n\x1b[31m"
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    directory = write_voc_texts(tmp_path / "texts")
    with pytest.raises(ValueError, match=r"of cat\\n\\x1b\[31m, dog") as caught:
        read_detections(directory, read_groundtruth(tmp_path / "truth.json"))
    assert "\n" not in str(caught.value)


def test_voc_texts_of_unknown_classes_alone(truth, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "bird.txt").write_text("a 0.5 1 2 3 4")
    with pytest.raises(ValueError, match="no file name ends with a class of the ground truth: bi"):
        read_detections(tmp_path / "texts", truth, skip_unknown=True)


def test_two_voc_texts_of_one_class(truth, tmp_path):
    directory = write_voc_texts(tmp_path / "texts")
    (directory / "comp3_det_val_cat.txt").write_text("")
    message = r"comp3_det_val_cat\.txt and comp4_det_val_cat\.txt are both detections of 'cat'"
    with pytest.raises(ValueError, match=message):
        read_detections(directory, truth)


@pytest.mark.parametrize("name", ["gone.json", "gone", "gone.record"])
def test_detections_that_do_not_exist(name, truth):
    with pytest.raises(FileNotFoundError, match=f"detections '{name}' do not exist; expected COCO"):
        read_detections(name, truth)


def test_a_directory_without_texts(truth, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no \.txt file"):
        read_detections(tmp_path, truth)
