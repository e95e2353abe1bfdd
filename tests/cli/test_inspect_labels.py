"""The command inspect_labels on each kind of dataset."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.cli import inspect_labels
from object_detection_mtl.dataset_tools import (
    create_coco_tf_record,
    create_pascal_tf_record,
    dataset_label_map,
)
from object_detection_mtl.visualization import label_sheet as drawing
from tests import command_line
from tests.dataset_tools import coco_files
from tests.dataset_tools.voc_files import (
    annotation,
    block_image,
    encoded,
    make_voc_directory,
    thing,
)

JPEG = encoded(block_image(120, 90))


@pytest.fixture
def voc_directory(tmp_path):
    objects = thing("cat", 10, 20, 50, 60) + thing("dog", 30, 40, 80, 110)
    texts = {
        "a": annotation("a.jpg", objects, (120, 90)),
        "b": annotation("b.jpg", "", (120, 90)),
        "c": annotation("c.jpg", objects, (120, 90)),
    }
    return make_voc_directory(tmp_path / "voc", texts, {"a.jpg": JPEG, "b.jpg": JPEG})


def inspect(tmp_path, *arguments):
    done = command_line.run(inspect_labels, f"--output_dir={tmp_path}/out", *arguments)
    return done, sorted(path.name for path in (tmp_path / "out").glob("*.png"))


def test_a_voc_directory_a_sheet_for_each_image_and_a_page(tmp_path, voc_directory):
    done, sheets = inspect(tmp_path, f"--data_dir={voc_directory}")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path}/out/index.html\n"
    assert sheets == ["0001_a.jpg.png", "0002_b.jpg.png"]
    for name in sheets:
        with Image.open(tmp_path / "out" / name) as sheet:
            assert sheet.width == drawing.WIDTH
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(f'src="{name}"' in page for name in sheets)
    assert "file not found: 1 (c.jpg)" in page


def test_a_coco_file_and_a_number_of_images(tmp_path):
    file = coco_files.write(
        tmp_path,
        [coco_files.image(1, size=None), coco_files.image(2, size=None)],
        [coco_files.thing(1, 90, 10, 20, 30, 40)],
    )
    coco_files.write_images(tmp_path / "in", {"000001.jpg": JPEG, "000002.jpg": JPEG})
    done, sheets = inspect(
        tmp_path, f"--annotations_file={file}", f"--image_dir={tmp_path}/in", "--num_images=1"
    )
    assert done.code == 0, done.err
    assert sheets == ["0001_1.png"]


@pytest.mark.slow
def test_the_same_labels_are_drawn_from_a_directory_and_from_its_record(tmp_path, voc_directory):
    _, sheets = inspect(tmp_path, f"--data_dir={voc_directory}", "--seed=3")
    drawn = [(tmp_path / "out" / name).read_bytes() for name in sheets]
    record, names = f"{tmp_path}/a.record", f"{tmp_path}/map.pbtxt"
    command_line.run(
        create_pascal_tf_record,
        f"--data_dir={voc_directory}",
        f"--output_path={record}",
        f"--output_label_map={names}",
        "--write_auxiliary_labels",
        "--num_windows=4",
        "--seed=3",
    )
    for stored in ("--nostored_labels", "--stored_labels"):
        arguments = (f"--input_path={record}", f"--label_map_path={names}", "--seed=3", stored)
        done, again = inspect(tmp_path, *arguments)
        assert (done.code, again) == (0, sheets), done.err
        for name, before in zip(sheets, drawn, strict=True):
            after = np.asarray(Image.open(tmp_path / "out" / name)).astype(int)
            first = np.asarray(Image.open(io.BytesIO(before))).astype(int)
            assert after.shape == first.shape
            # Three digits of a stored label can move the end of a bar by a pixel.
            assert (np.abs(after - first).max(axis=-1) > 8).mean() < 2e-3, (stored, name)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no input given, expected one of --input_path"),
        (
            ["--input_path={0}/a", "--data_dir={0}"],
            "--input_path and --data_dir given, expected one",
        ),
        (["--input_path={0}/a"], "--input_path needs --label_map_path"),
        (["--input_path={0}/none", "--label_map_path={0}/map.pbtxt"], "no file matches '.*none'"),
        (["--input_path={0}/map.pbtxt", "--label_map_path={0}/map.pbtxt"], "not a TFRecord file"),
        (["--data_dir={0}/none"], "directory '.*none' does not exist"),
        (["--data_dir={0}/voc", "--stored_labels"], "--stored_labels needs --input_path"),
        (["--annotations_file={0}/a.json"], "--image_dir must be given together"),
        (["--data_dir={0}/voc", "--label_map_path={0}/map.pbtxt"], "lacks classes .*'cat'"),
        (["--data_dir={0}/voc", "--output_dir={0}/map.pbtxt"], "a file of this name exists"),
    ],
)
def test_user_errors_are_one_message_and_exit_code_1(tmp_path, voc_directory, arguments, says):
    dataset_label_map.write_label_map({"quokka": 1}, tmp_path / "map.pbtxt")
    done, sheets = inspect(tmp_path, *[text.format(tmp_path) for text in arguments])
    assert done.code == 1
    assert not sheets
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert re.search(f"(?s){says}", done.err), done.err


def test_a_record_without_stored_labels_is_an_error_with_advice(tmp_path):
    file = coco_files.write(tmp_path, [coco_files.image(1)], [])
    coco_files.write_images(tmp_path / "in", {"000001.jpg": JPEG})
    record, names = f"{tmp_path}/a.record", f"{tmp_path}/map.pbtxt"
    command_line.run(
        create_coco_tf_record,
        f"--annotations_file={file}",
        f"--image_dir={tmp_path}/in",
        f"--output_path={record}",
        f"--output_label_map={names}",
    )
    arguments = (f"--input_path={record}", f"--label_map_path={names}", "--stored_labels")
    done, _ = inspect(tmp_path, *arguments)
    assert done.code == 1
    assert "--write_auxiliary_labels" in done.err


def test_a_directory_without_a_usable_image(tmp_path):
    directory = make_voc_directory(tmp_path / "v", {"a": annotation("a.jpg")}, {"a.jpg": b"text"})
    done, _ = inspect(tmp_path, f"--data_dir={directory}")
    assert done.code == 1
    assert "expected at least one. images skipped, unreadable: 1" in done.err
