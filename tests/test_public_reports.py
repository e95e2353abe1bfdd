"""Public reports about datasets and configs of other detection packages, with inputs of our own.

The id of a test is the report: owner/repository#number on GitHub. Other tests cover most of the
mechanisms; these keep each report as its author met it.
"""

import json

import numpy as np
import pytest

from object_detection_mtl.config import label_map, pipeline
from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.data import record_contents, record_files
from object_detection_mtl.dataset_tools import (
    coco_annotations,
    coco_conversion,
    conversion_report,
    record_conversion,
    voc_conversion,
)
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from object_detection_mtl.reporting import detection_files, groundtruth_files
from tests import records
from tests.data.record_files import example, write
from tests.dataset_tools import coco_files
from tests.dataset_tools.voc_files import (
    annotation,
    block_image,
    encoded,
    make_voc_directory,
    thing,
)

JPEG = encoded(block_image(40, 30))
BOX = coco_files.thing(1, 3, 5, 5, 20, 10)
WITHOUT_ID = {key: value for key, value in BOX.items() if key != "id"}


# Label maps and configs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param(
            "item {\n  id: 1 # 编号\n  name: 'raccoon'\n}".encode(),
            ["raccoon"],
            id="tensorflow/models#4926-comment",
        ),
        pytest.param(
            b"\xef\xbb\xbfitem{\r\n    id:1 \r\n    name:'green'\r\n}\r\n",
            ["green"],
            id="tensorflow/models#6853-byte order mark",
        ),
        pytest.param(
            b"item {\n  id: 1\n  name: 'apple'\n}\n\nitem {\n  id: 2\n  name: 'banana'\n}\n\n",
            ["apple", "banana"],
            id="tensorflow/models#3624-made by a script",
        ),
    ],
)
def test_label_maps_that_are_read(tmp_path, data, names):
    (tmp_path / "map.pbtxt").write_bytes(data)
    assert [item.name for item in label_map.load(tmp_path / "map.pbtxt")] == names


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(
            "item { id: 1 # 编号\n name: 'raccoon' }".encode("gbk"),
            "map.pbtxt.*UTF-8",
            id="tensorflow/models#4926-encoding",
        ),
        pytest.param(
            "item {\n id: 1\n name: ‘toy’\n}".encode(),
            "map.pbtxt.*line 3",
            id="priya-dwivedi/Deep-Learning#56-typographic quotes",
        ),
        pytest.param(
            b"item { id: 0 name: 'businesscard' }",
            "id.*0.*1",
            id="tensorflow/models#1601-id 0",
        ),
        pytest.param(
            b"'item {\n id: 1\n name: 'toy'\n}'",
            "map.pbtxt.*line 1",
            id="priya-dwivedi/Deep-Learning#56-quotes around the file",
        ),
    ],
)
def test_label_maps_that_are_refused(tmp_path, data, says):
    (tmp_path / "map.pbtxt").write_bytes(data)
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        label_map.load(tmp_path / "map.pbtxt")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(
            '"%(directory)s/train.record"',
            "“/data/train.record”",
            "line .*“",
            id="tensorflow/models#1897-typographic quotes",
        ),
        pytest.param(
            '"%(directory)s/train.record"',
            '"/data/train.record”',
            "line .*quote",
            id="EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-"
            "Windows-10#488-one typographic quote",
        ),
        pytest.param(
            '"%(directory)s/train.record"',
            r'"C:\Users\me\train.record"',
            "line 43: a backslash begins .* write paths with /",
            id="tensorflow/models#5138-backslashes",
        ),
        pytest.param(
            '"%(directory)s/train.record"',
            r'"D:\new\train.record"',
            "line 43: a backslash begins .* write paths with /",
            id="tensorflow/models#10575-backslashes that mean other characters",
        ),
        pytest.param(
            "\nconfig_dialect: ODAPI",
            "\n\n\n<!DOCTYPE html>\n<html>",
            "HTML",
            id="EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-"
            "Windows-10#264-a web page",
        ),
    ],
)
def test_configs_that_are_refused(tmp_path, old, new, says):
    assert old in records.CONFIG
    path = tmp_path / "pipeline.config"
    path.write_text(records.CONFIG.replace(old, new) % {"directory": tmp_path}, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        pipeline.load(path)


# COCO files ---------------------------------------------------------------------------------------


def convert_coco(tmp_path, images, annotations):
    """Return the report of the conversion, and the file."""
    path = coco_files.write(tmp_path, images, annotations)
    directory = coco_files.write_images(
        tmp_path / "images", {image["file_name"]: JPEG for image in images}
    )
    file = coco_annotations.read_coco_file(path)
    made = coco_conversion.to_annotated_images(
        file, directory, coco_annotations.class_numbers(file)
    )
    return record_conversion.create_records(made, tmp_path / "out.record"), file


@pytest.mark.parametrize(
    ("annotations", "num_objects", "notes"),
    [
        pytest.param([WITHOUT_ID], 1, 0, id="matterport/Mask_RCNN#1439-no id"),
        pytest.param([BOX | {"id": 0}], 1, 0, id="cvat-ai/cvat#748-id 0"),
        pytest.param([BOX | {"id": 1}] * 2, 2, 0, id="facebookresearch/maskrcnn-benchmark#539-ids"),
        pytest.param([BOX], 1, 0, id="cocodataset/cocoapi#374-no iscrowd"),
        pytest.param([BOX | {"iscrowd": 0}], 1, 0, id="open-mmlab/mmdetection#804-no area"),
        pytest.param(
            [BOX, {"image_id": 1, "category_id": 3, "iscrowd": 1}],
            1,
            1,
            id="facebookresearch/maskrcnn-benchmark#480-no bbox",
        ),
        pytest.param([BOX | {"iscrowd": 1}], 1, 0, id="facebookresearch/detectron2#5027-crowds"),
        pytest.param([BOX, BOX | {"bbox": []}], 1, 1, id="pytorch/vision#2192-empty bbox"),
        pytest.param([BOX] * 2, 2, 0, id="ultralytics/yolov5#5210-duplicates"),
        pytest.param(
            [BOX | {"segmentation": [[1, 2, 3]]}],
            1,
            0,
            id="facebookresearch/detectron2#175-polygon",
        ),
    ],
)
def test_annotations_of_coco_files(tmp_path, annotations, num_objects, notes):
    report, file = convert_coco(tmp_path, [coco_files.image(1)], annotations)
    assert report.objects == num_objects
    assert len(file.notes) == notes


@pytest.mark.parametrize(
    ("box", "issue"),
    [
        pytest.param([20, 20, -10, -5], conversion_report.EMPTY, id="pytorch/vision#2740-inverted"),
        pytest.param([0, 0, 0, 0], conversion_report.EMPTY, id="pytorch/vision#5098-no object"),
        pytest.param([-3, 5, 20, 9], conversion_report.CLIPPED, id="ultralytics/yolov5#5210-below"),
        pytest.param([9, 5, 99, 9], conversion_report.CLIPPED, id="ultralytics/yolov5#4798-beyond"),
    ],
)
def test_boxes_of_coco_files(tmp_path, box, issue):
    report, _ = convert_coco(tmp_path, [coco_files.image(1)], [BOX, BOX | {"bbox": box}])
    assert report.issues == {issue: ["000001.jpg"]}
    assert report.objects == 1 + (issue == conversion_report.CLIPPED)


def test_sizes_of_minus_one(tmp_path):
    """facebookresearch/detectron2#1966"""
    image = coco_files.image(0) | {"width": -1, "height": -1}
    report, file = convert_coco(tmp_path, [image], [BOX | {"image_id": 0}])
    assert (report.images, report.objects) == (1, 1)
    assert "not a number of pixels, those of the file are used: 1" in file.notes[0]


def test_images_without_objects_are_kept(tmp_path):
    """pytorch/vision#5098"""
    images = [coco_files.image(1), coco_files.image(2, "b.jpg")]
    report, _ = convert_coco(tmp_path, images, [BOX])
    assert (report.images, report.images_without_objects) == (2, 1)


def test_an_image_id_that_occurs_twice(tmp_path):
    """obss/sahi#98"""
    path = coco_files.write(tmp_path, [coco_files.image(1), coco_files.image(1, "b.jpg")], [BOX])
    with pytest.raises(coco_annotations.CocoError, match="images have the same id more than once"):
        coco_annotations.read_coco_file(path)


def test_results_of_other_images(tmp_path):
    """cocodataset/cocoapi#497"""
    truth = groundtruth_files.read_groundtruth(
        coco_files.write(tmp_path, [coco_files.image(1)], [BOX])
    )
    path = tmp_path / "results.json"
    found = [{"image_id": 7, "category_id": 3, "bbox": [5, 5, 20, 10], "score": 0.5}]
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match="1 detection of 1 image that the ground truth lacks: 7"):
        detection_files.read_detections(path, truth)
    path.write_text(json.dumps(found + [found[0] | {"image_id": 1}]))
    made = detection_files.read_detections(path, truth, skip_unknown=True)
    assert made.notes == ("Skipped 1 detection of 1 image that the ground truth lacks.",)


# VOC directories ----------------------------------------------------------------------------------


def test_images_that_were_renamed_after_the_annotation(tmp_path):
    """EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-...-Windows-10#586"""
    texts = {"b": annotation("old name.jpg", thing("cat", 1, 2, 9, 9))}
    directory = make_voc_directory(tmp_path / "v", texts, {"b.jpg": JPEG})
    [located] = voc_conversion.locate_annotations([directory])
    assert located.image_path == directory / "JPEGImages" / "b.jpg"


def test_annotations_in_the_encoding_of_the_system(tmp_path):
    """tensorflow/tensorflow#45036"""
    texts = {"a": annotation("a.jpg", thing("cat", 1, 2, 9, 9)), "b": ""}
    directory = make_voc_directory(tmp_path / "v", texts, {"a.jpg": JPEG, "b.jpg": JPEG})
    korean = annotation("b.jpg", thing("고양이", 1, 2, 9, 9)).encode("cp949")
    (directory / "Annotations" / "b.xml").write_bytes(korean)
    notes = EntryNotes()
    assert len(voc_conversion.locate_annotations([directory], notes=notes)) == 1
    assert "save it in UTF-8, or state its encoding in the first line" in notes.lines()[0]


# Records ------------------------------------------------------------------------------------------


def test_training_data_of_crowds_only(tmp_path):
    """facebookresearch/detectron2#5027"""
    convert_coco(tmp_path, [coco_files.image(1)], [BOX | {"iscrowd": 1}])
    index = record_files.index_records(str(tmp_path / "out.record"))
    contents = record_contents.examine_records(index, {"cat": 3}, [3])
    assert record_contents.no_object(contents)


def test_boxes_in_records_that_are_not_normalized(tmp_path):
    """ultralytics/yolov5#4798"""
    boxes = np.array([[2.0, 3.0, 12.0, 19.0]])
    path = write(tmp_path / "a.record", example("a", boxes=boxes, size=(20, 16)))
    contents = record_contents.examine_records(
        record_files.index_records(str(path)), {"cat": 1}, [1]
    )
    assert "pixels" in record_contents.form_of_boxes(contents)
