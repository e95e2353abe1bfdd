"""Record files of a report whose values cannot be used: one line with the place."""

import re

import pytest
import tensorflow as tf

from object_detection_mtl.data import input_pipeline
from object_detection_mtl.fields import Batch
from object_detection_mtl.reporting.detection_files import read_detections
from object_detection_mtl.reporting.groundtruth_files import read_groundtruth
from object_detection_mtl.reporting.record_examples import image_sources
from object_detection_mtl.reporting.thumbnails import ThumbnailMaker
from tests.reporting.dataset_files import HEIGHT, WIDTH, encoded_image, write_records, write_voc


def floats(key, *values):
    """Return a function that replaces a feature by numbers."""
    return lambda features: features[key].CopyFrom(
        tf.train.Feature(float_list=tf.train.FloatList(value=values))
    )


def texts(key, *values):
    """Return a function that replaces a feature by texts."""
    return lambda features: features[key].CopyFrom(
        tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    )


def without(*keys):
    return lambda features: [features.pop(key) for key in keys]


NAN = float("nan")
SIDES = r"the sides of boxes differ in number \(2 in \S+ymin, 1 in \S+xmin, 2 in \S+ymax, "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (floats("image/detection/score", 0.9, NAN), "a score of image 'a.jpg' is not a finite"),
        (floats("image/detection/score", 0.9), "has 1 scores, 2 classes and 2 boxes"),
        (floats("image/detection/label", 1.0, NAN), "label is nan, expected an integer"),
        (floats("image/detection/label", 1.5, 2.0), "label is 1.5, expected an integer"),
        (texts("image/detection/label", b"cat", b"dog"), "label holds texts, expected numbers"),
        (floats("image/detection/bbox/xmin", 0.1), SIDES),
        (floats("image/detection/bbox/xmin", 0.1, NAN), r"box 1 of image 'a.jpg' is \[.*nan"),
        (without("image/source_id"), "has neither source id nor file name"),
    ],
)
def test_detections_of_a_record(change, message, tmp_path):
    truth = read_groundtruth(write_voc(tmp_path / "voc"))
    path = write_records(tmp_path / "detections.record", change)
    with pytest.raises(ValueError, match=message) as caught:
        read_detections(path, truth)
    assert str(caught.value).startswith(f"{path}, record at byte 0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (floats("image/object/bbox/ymax", 0.5, 0.6, 0.7, 0.8, 0.9), "differ in number"),
        (floats("image/object/bbox/ymax", NAN, 0.6), "box 0 of image 'a.jpg'"),
        (texts("image/object/class/text", b"cat"), "has 1 classes for 2 boxes"),
        (texts("image/object/class/label", b"cat"), "class/label holds texts, expected numbers"),
        (floats("image/object/class/label", 1.0, 1e30), "class/label is 1.*, expected an integer"),
        (texts("image/height", b"tall"), "image/height holds texts, expected numbers"),
    ],
)
def test_groundtruth_of_a_record(change, message, tmp_path):
    path = write_records(tmp_path / "truth.record", change)
    with pytest.raises(ValueError, match=message) as caught:
        read_groundtruth(path)
    assert str(caught.value).startswith(f"{path}, record at byte 0")


def test_the_image_of_a_record_without_name_is_found_by_the_name_of_the_pipeline(tmp_path):
    path = write_records(tmp_path / "val.record", without("image/source_id"))
    dataset = input_pipeline.make_dataset(
        str(path),
        preprocess_fn=lambda image: (tf.cast(image, tf.float32), tf.shape(image)),
        batch_size=1,
        is_training=False,
        num_classes=2,
    )
    batch = next(iter(dataset))
    [name] = batch[Batch.image_id].numpy()
    assert image_sources([str(path)])[name.decode()].read_bytes() == encoded_image(0)


@pytest.mark.parametrize("height", [NAN, float("inf"), -1.0])
def test_an_impossible_height_is_that_of_the_image(height, tmp_path):
    path = write_records(tmp_path / "truth.record", floats("image/height", height))
    assert read_groundtruth(path).images[0].size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64])
def test_a_file_that_was_replaced_has_no_image(content, tmp_path):
    path = write_records(tmp_path / "truth.record")
    item = read_groundtruth(path).images[0]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="record at byte 0 does not exist; was the file replaced"):
        item.read_bytes()
    assert ThumbnailMaker().of_image(item).reason == "the image file is unreadable"


def test_boxes_of_a_record_are_dropped_and_clipped_as_in_training(tmp_path):
    change = floats("image/object/bbox/xmin", 0.9, -0.5)  # The first one ends at 22 / 60.
    made = read_groundtruth(write_records(tmp_path / "truth.record", change))
    assert made.notes == ("Skipped 1 object without area inside of the image.",)
    truth = made.images[0].groundtruth
    assert truth.classes.tolist() == [2]
    assert truth.difficult.tolist() == [True]
    assert truth.boxes.round(3).tolist() == [[10, 0, 30, 50]]


def test_a_record_that_is_not_an_example(tmp_path):
    path = tmp_path / "truth.record"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"\xff\xff not an example")
    wanted = re.escape(f"{path}, record at byte 0: 17 bytes, not a tf.train.Example")
    with pytest.raises(ValueError, match=wanted):
        read_groundtruth(path)


def test_a_number_as_source_id_is_a_name(tmp_path):
    truth = read_groundtruth(
        write_records(
            tmp_path / "truth.record",
            lambda features: features["image/source_id"].CopyFrom(
                tf.train.Feature(int64_list=tf.train.Int64List(value=[17]))
            ),
        )
    )
    assert truth.images[0].image_id == "17"
