"""The command create_coco_tf_record and its records."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.config import label_map
from object_detection_mtl.data import example_decoder
from object_detection_mtl.dataset_tools import (
    conversion_report,
    create_coco_tf_record,
    dataset_label_map,
)
from object_detection_mtl.fields import Batch, Groundtruth
from tests import command_line
from tests.dataset_tools import coco_files
from tests.dataset_tools.coco_files import image, thing
from tests.dataset_tools.record_contents import examples, values
from tests.dataset_tools.voc_files import block_image, encoded

JPEG = encoded(block_image())


def convert(tmp_path, images, annotations, files, *arguments, **more):
    """Runs the command; returns its outcome and the records."""
    path = coco_files.write(tmp_path, images, annotations, **more)
    directory = coco_files.write_images(tmp_path / "images", files)
    output = tmp_path / "out.record"
    done = command_line.run(
        create_coco_tf_record,
        f"--annotations_file={path}",
        f"--image_dir={directory}",
        f"--output_path={output}",
        *arguments,
    )
    return done, examples(output) if output.exists() else []


def test_every_key_of_a_record(tmp_path):
    done, [example] = convert(
        tmp_path,
        [image(42, "sub/a.jpg")],
        [
            thing(42, 90, 4, 3, 16.5, 12, area=55.5, iscrowd=0),
            thing(42, 3, 0, 0, 40, 30, iscrowd=1),
        ],
        {"sub/a.jpg": JPEG},
    )
    expected = {
        "image/encoded": [JPEG],
        "image/format": [b"jpeg"],
        "image/height": [30],
        "image/width": [40],
        "image/filename": [b"sub/a.jpg"],
        "image/source_id": [b"42"],
        "image/key/sha256": [hashlib.sha256(JPEG).hexdigest().encode()],
        "image/object/class/text": [b"dog", b"cat"],
        "image/object/class/label": [90, 3],
        "image/object/is_crowd": [0, 1],
        "image/object/area": [55.5, 1200.0],
    }
    boxes = {
        "image/object/bbox/ymin": [0.1, 0.0],
        "image/object/bbox/xmin": [0.1, 0.0],
        "image/object/bbox/ymax": [0.5, 1.0],
        "image/object/bbox/xmax": [0.5125, 1.0],
    }
    assert set(example.features.feature) == {*expected, *boxes}
    for key, value in expected.items():
        assert values(example, key) == value, key
    for key, value in boxes.items():
        np.testing.assert_allclose(values(example, key), value, rtol=1e-6)
    lines = "1 images with 2 objects written\nobjects of each class: cat 1, dog 1\n"
    assert done == (0, lines, done.err)


def test_the_decoder_reads_the_same_boxes(tmp_path):
    annotations = [
        thing(1, 90, 4, 3, 16.5, 12, area=55.5),
        thing(1, 3, 30, 20, 99, 99, iscrowd=1, area=9.25),
        thing(1, 3, 5, 5, 0, 9),
    ]
    convert(
        tmp_path,
        [image(1)],
        annotations,
        {"000001.jpg": JPEG},
        f"--output_label_map={tmp_path}/map.pbtxt",
    )
    decode = example_decoder.make_decoder(90, label_map.load(tmp_path / "map.pbtxt"))
    [serialized] = tf.data.TFRecordDataset(str(tmp_path / "out.record"))
    decoded = decode(example_decoder.parse(serialized), tf.constant("record 0"))
    assert decoded[Batch.image_id].numpy() == b"1"
    np.testing.assert_allclose(
        decoded[Groundtruth.boxes],
        [[0.1, 0.1, 0.5, 0.5125], [2 / 3, 0.75, 1, 1]],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(decoded[Groundtruth.classes], [90, 3])
    np.testing.assert_array_equal(decoded[Groundtruth.is_crowd], [False, True])
    np.testing.assert_array_equal(decoded[Groundtruth.area], [55.5, 9.25])


def test_issues_of_images_and_boxes_are_reported_at_the_end(tmp_path):
    names = ("good", "gone", "short", "lost", "empty")
    done, written = convert(
        tmp_path,
        [image(number, f"{name}.jpg") for number, name in enumerate(names, start=1)],
        [
            thing(1, 3, 10, 10, 0, 5),  # no width
            thing(1, 3, 10, 10, 5, -1),  # negative height
            thing(1, 3, 50, 10, 5, 5),  # outside
            thing(1, 3, 30, 20, 20, 20),  # partly outside
            thing(9, 3, 1, 1, 2, 2),  # of no image
        ],
        {"good.jpg": JPEG, "short.jpg": JPEG[:-100], "empty.jpg": JPEG},
    )
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "2 images with 1 objects written (1 images without objects)",
        f"{conversion_report.EMPTY}: 3 (good.jpg)",
        f"{conversion_report.CLIPPED}: 1 (good.jpg)",
        f"{conversion_report.MISSING}: 2 (gone.jpg, lost.jpg)",
        f"{conversion_report.UNREADABLE}: 1 ({tmp_path}/images/short.jpg: the file is truncated: "
        "it has no end-of-image marker)",
        "objects of each class: cat 1",
        "annotations ignored, image not listed in the file: 1",
    ]
    assert [values(example, "image/source_id") for example in written] == [[b"1"], [b"5"]]
    assert values(written[1], "image/object/bbox/ymin") == []


def test_category_ids_with_gaps_stay_the_class_numbers(tmp_path):
    arguments = (tmp_path, [image(1)], [thing(1, 90, 1, 1, 2, 2)], {"000001.jpg": JPEG})
    done, [example] = convert(*arguments, f"--output_label_map={tmp_path}/new/map.pbtxt")
    assert done.code == 0
    assert values(example, "image/object/class/label") == [90]
    # The label map holds every category, so that it fits all sets of the data.
    assert dataset_label_map.load_labels(tmp_path / "new" / "map.pbtxt") == {"cat": 3, "dog": 90}


def test_a_given_label_map_renumbers_by_name(tmp_path):
    dataset_label_map.write_label_map({"dog": 1, "cat": 2}, tmp_path / "map.pbtxt")
    annotations = [thing(1, 90, 1, 1, 2, 2), thing(1, 3, 1, 1, 2, 2)]
    done, [example] = convert(
        tmp_path,
        [image(1)],
        annotations,
        {"000001.jpg": JPEG},
        f"--label_map_path={tmp_path}/map.pbtxt",
    )
    assert done.code == 0
    assert values(example, "image/object/class/label") == [1, 2]


def test_category_0_needs_a_label_map(tmp_path):
    categories = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    arguments = (tmp_path, [image(1)], [thing(1, 0, 1, 1, 2, 2)], {"000001.jpg": JPEG})
    done, written = convert(*arguments, categories=categories)
    assert done.code == 1
    assert not written
    assert "are 0 to 1" in done.err
    assert "--output_label_map" in done.err
    done, [example] = convert(
        *arguments, f"--output_label_map={tmp_path}/map.pbtxt", categories=categories
    )
    assert values(example, "image/object/class/label") == [1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--annotations_file={}/nowhere.json"], "nowhere.json' does not exist"),
        (["--annotations_file={}"], "is a directory, expected a .json file"),
        (["--image_dir={}/nowhere"], "--image_dir: the directory '.*nowhere' does not exist"),
        (["--image_dir={}/empty"], "has none of the 1 images that .* such as '000001.jpg'"),
        (["--image_dir="], "--image_dir is empty"),
        (["--label_map_path={}/none.pbtxt"], "none.pbtxt"),
        (["--label_map_path={}/map.pbtxt"], "(?s)lacks classes.*'cat', in image 1 .000001.jpg"),
        (["--label_map_path=a", "--output_label_map=b"], "are both given"),
        (["--num_shards=0"], "--num_shards is 0"),
        (["--num_workers=-1"], "--num_workers is -1"),
        (["surplus"], "unexpected arguments"),
    ],
)
def test_user_errors_are_one_message_and_exit_code_1(tmp_path, arguments, says):
    (tmp_path / "empty").mkdir()
    dataset_label_map.write_label_map({"quokka": 1}, tmp_path / "map.pbtxt")
    done, written = convert(
        tmp_path,
        [image(1)],
        [thing(1, 3, 1, 1, 2, 2)],
        {"000001.jpg": JPEG},
        *[text.format(tmp_path) for text in arguments],
    )
    assert done.code == 1
    assert not written
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert re.search(says, done.err), done.err
