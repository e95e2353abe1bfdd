"""Datasets of every kind become the same records."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.api import dataset_config, dataset_records
from object_detection_mtl.data import example_decoder
from object_detection_mtl.fields import Batch, Groundtruth
from tests.api import tiny_detectors

NAMES = tiny_detectors.NAMES
BOXES = [[5, 10, 40, 60], [0, 0, 20, 30]]
LABELS = [2, 1]


def examples(count=2):
    for number in range(count):
        image = tiny_detectors.image(number)
        yield {"image": image, "boxes": BOXES, "labels": LABELS, "image_id": f"{number}.png"}


def voc_directory(path):
    """Write two images with the same two objects as `examples`."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (path / name).mkdir(parents=True)
    for number in range(2):
        Image.fromarray(tiny_detectors.image(number)).save(path / f"JPEGImages/{number}.png")
        objects = "".join(
            f"<object><name>{NAMES[label]}</name><bndbox><ymin>{box[0]}</ymin><xmin>{box[1]}</xmin>"
            f"<ymax>{box[2]}</ymax><xmax>{box[3]}</xmax></bndbox></object>"
            for box, label in zip(BOXES, LABELS, strict=True)
        )
        (path / f"Annotations/{number}.xml").write_text(
            f"<annotation><filename>{number}.png</filename>{objects}</annotation>"
        )
    for name, numbers in (("train", "0\n1\n"), ("val", "1\n")):
        (path / f"ImageSets/Main/{name}.txt").write_text(numbers)
    return path


def coco_pair(path):
    directory = voc_directory(path)
    rows = [
        {
            "id": 10 * image + row,
            "image_id": image,
            "category_id": label,
            "bbox": [box[1], box[0], box[3] - box[1], box[2] - box[0]],
            "area": 1.0,
            "iscrowd": 0,
        }
        for image in range(2)
        for row, (box, label) in enumerate(zip(BOXES, LABELS, strict=True))
    ]
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": 64, "width": 80}
            for number in range(2)
        ],
        "annotations": rows,
        "categories": [{"id": number, "name": name} for number, name in NAMES.items()],
    }
    (path / "instances.json").write_text(json.dumps(content))
    return path / "instances.json", directory / "JPEGImages"


def record_files(dataset, tmp_path, **changed):
    arguments = {"num_classes": 2, "class_names": NAMES, "label_map_path": None, **changed}
    return dataset_records.to_record_files(dataset, tmp_path / "out.record", **arguments)


def decoded(paths):
    decode = example_decoder.make_decoder(2)
    return [
        decode(example_decoder.parse(record), tf.constant("record"))
        for record in tf.data.TFRecordDataset(list(paths))
    ]


def assert_equal_examples(found):
    assert len(found) == 2
    for number, example in enumerate(found):
        np.testing.assert_array_equal(example["image"], tiny_detectors.image(number))
        expected = np.array(BOXES) / [64, 80, 64, 80]
        np.testing.assert_allclose(example[Groundtruth.boxes], expected, atol=1e-6)
        np.testing.assert_array_equal(example[Groundtruth.classes], LABELS)


@pytest.mark.parametrize("kind", ["list", "generator", "tf.data", "VOC", "COCO"])
def test_every_kind_gives_the_same_examples(kind, tmp_path):
    if kind == "list":
        dataset = list(examples())
    elif kind == "generator":
        dataset = examples()
    elif kind == "tf.data":
        dataset = tf.data.Dataset.from_generator(
            examples,
            output_signature={
                "image": tf.TensorSpec([None, None, 3], tf.uint8),
                "boxes": tf.TensorSpec([None, 4], tf.float32),
                "labels": tf.TensorSpec([None], tf.int32),
                "image_id": tf.TensorSpec([], tf.string),
            },
        )
    elif kind == "VOC":
        dataset = voc_directory(tmp_path / "voc")
    else:
        dataset = coco_pair(tmp_path / "coco")
    files = record_files(dataset, tmp_path)
    assert {item.id: item.name for item in files.categories} == NAMES
    found = decoded(files.paths)
    assert_equal_examples(found)
    if kind != "COCO":  # which identifies images by number
        assert [bytes(item[Batch.image_id].numpy()) for item in found] == [b"0.png", b"1.png"]


def test_a_set_of_a_voc_directory(tmp_path):
    directory = voc_directory(tmp_path / "voc")
    for dataset, options in (((directory, "val"), {}), (directory, {"default_set": "val"})):
        files = record_files(dataset, tmp_path, **options)
        assert len(decoded(files.paths)) == 1
    with pytest.raises(FileNotFoundError, match="has no set 'test', but train, val; give a pair"):
        record_files((directory, "test"), tmp_path)


def test_records_stay_where_they_are(tmp_path):
    assert record_files("a.record*", tmp_path).paths == ["a.record*"]
    assert record_files([tmp_path / "a", "b"], tmp_path).paths == [str(tmp_path / "a"), "b"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "kind", "message"),
    [
        ([], ValueError, "no usable image"),
        ({"image": []}, ValueError, "dataset has the type dict; expected"),
        (3, ValueError, "dataset has the type int; expected"),
        ("instances.json", ValueError, "give a pair"),
        (("no_directory", "train"), FileNotFoundError, "'no_directory' does not exist"),
        (tf.data.Dataset.range(1).repeat(), ValueError, "infinite.*remove repeat"),
        (tf.data.Dataset.range(1), ValueError, "example 0 has the type"),
    ],
)
def test_an_unusable_dataset_is_one_clear_error(dataset, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        record_files(dataset, tmp_path)
    assert not list(tmp_path.glob("**/*.record"))


def test_a_directory_of_another_kind_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no directory Annotations; expected a VOC"):
        record_files(tmp_path / "empty", tmp_path)


def test_too_many_classes_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="num_classes = 1 is less"):
        record_files(voc_directory(tmp_path / "voc"), tmp_path, num_classes=1)


def test_the_readers_get_records_and_label_map(tmp_path):
    config = tiny_detectors.config()
    changed = dataset_config.DatasetConfig(config, tmp_path, {})
    changed.set_train(voc_directory(tmp_path / "voc"))
    changed.set_validation(list(examples()))
    train, validation = changed.config.train_input_reader, changed.config.eval_input_reader[0]
    assert train.label_map_path == validation.label_map_path == str(tmp_path / "label_map.pbtxt")
    assert list(train.tf_record_input_reader.input_path) == [str(tmp_path / "data/train.record")]
    assert_equal_examples(decoded(validation.tf_record_input_reader.input_path))
    assert changed.class_names == NAMES
    assert config == tiny_detectors.config()
    other = dataset_config.DatasetConfig(config, tmp_path, {1: "stripe", 2: "square"})
    with pytest.raises(FileExistsError, match="train in another directory"):
        other.set_train(list(examples()))
