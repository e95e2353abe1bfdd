"""The command create_pascal_tf_record and its records."""

import hashlib
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.dataset_tools import (
    conversion_report,
    dataset_label_map,
    record_conversion,
    voc_conversion,
    voc_xml,
)
from object_detection_mtl.dataset_tools.annotated_images import DataError
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from tests.dataset_tools.record_contents import examples, values
from tests.dataset_tools.voc_files import (
    SHARED,
    annotation,
    block_image,
    encoded,
    make_voc_directory,
    needs_shared_data,
    thing,
)

LABELS = {"cat": 1, "dog": 2}


def convert(tmp_path, annotations, files, **options):
    directory = make_voc_directory(tmp_path / "voc", annotations, files)
    located = voc_conversion.locate_annotations([directory])
    voc_conversion.check_classes(located, LABELS, "map.pbtxt")
    images = voc_conversion.to_annotated_images(located, LABELS, **options)
    output = tmp_path / "out.record"
    return record_conversion.create_records(images, output), examples(output)


def test_every_key_of_a_record(tmp_path):
    flags = "<difficult>1</difficult><truncated>0</truncated><pose>Left</pose>"
    objects = thing("dog", 3, 4, 15, 20.5, flags) + thing("cat", 0, 0, 30, 40)
    data = encoded(block_image(), "PNG")
    report, [example] = convert(tmp_path, {"a": annotation("a.jpg", objects)}, {"a.jpg": data})
    expected = {
        "image/encoded": [data],
        "image/format": [b"png"],
        "image/height": [30],
        "image/width": [40],
        "image/filename": [b"a.jpg"],
        "image/source_id": [b"a.jpg"],
        "image/key/sha256": [hashlib.sha256(data).hexdigest().encode()],
        "image/object/class/text": [b"dog", b"cat"],
        "image/object/class/label": [2, 1],
        "image/object/difficult": [1, 0],
        "image/object/truncated": [0, 0],
        "image/object/view": [b"Left", b"Unspecified"],
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
    assert report.lines() == ["1 images with 2 objects written"]


def test_boxes_beyond_the_image_are_clipped_and_lost_ones_counted(tmp_path):
    objects = "".join(
        thing("cat", *box)
        for box in [
            (-5, 10, 15, 50),  # beyond two sides: clipped
            (10, 10, 10, 20),  # empty
            (20, 10, 10, 20),  # inverted
            (-9, 0, 0, 10),  # outside, touching
            (5, 45, 9, 60),  # outside
            (1, 1, 2, 2),
        ]
    )
    report, [example] = convert(tmp_path, {"a": annotation("a.jpg", objects)}, {"a.jpg": JPEG})
    assert report.lines() == [
        "1 images with 2 objects written",
        "boxes clipped to the image: 1 (a.xml)",
        "boxes dropped, no area inside the image (empty, inverted or outside): 4 (a.xml)",
        "boxes of one pixel or less, perhaps fractions of the image: 1 (a.xml)",
    ]
    np.testing.assert_allclose(values(example, "image/object/bbox/ymin"), [0, 1 / 30], rtol=1e-6)
    np.testing.assert_allclose(values(example, "image/object/bbox/xmax"), [1, 2 / 40], rtol=1e-6)


JPEG = encoded(block_image())


def test_images_without_objects_and_dropped_difficult_objects(tmp_path):
    hard = thing("cat", 1, 1, 9, 9, "<difficult>1</difficult>")
    report, [first, second] = convert(
        tmp_path,
        {"a": annotation("a.jpg"), "b": annotation("b.jpg", hard + thing("dog", 2, 2, 8, 8))},
        {"a.jpg": JPEG, "b.jpg": JPEG},
        ignore_difficult_instances=True,
    )
    assert values(first, "image/object/class/text") == []
    assert values(second, "image/object/class/text") == [b"dog"]
    assert report.lines() == [
        "2 images with 1 objects written (1 images without objects)",
        "objects dropped as difficult: 1 (b.xml)",
    ]


def test_unreadable_images_are_skipped_and_reported(tmp_path):
    names = ("good", "short", "text", "gone")
    report, written = convert(
        tmp_path,
        {name: annotation(f"{name}.jpg") for name in names},
        {"good.jpg": JPEG, "short.jpg": JPEG[:200], "text.jpg": b"no image"},
    )
    assert [values(example, "image/filename") for example in written] == [[b"good.jpg"]]
    lines = "\n".join(report.lines())
    assert "file not found: 1 (gone.jpg)" in lines
    assert "images skipped, unreadable: 2 (" in lines
    assert "short.jpg: " in lines
    assert "text.jpg: not an image" in lines


def test_directory_without_the_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of the 1 images .*'a.jpg'; .*--images_dir"):
        convert(tmp_path, {"a": annotation("a.jpg")}, {"b.jpg": JPEG})


def test_if_no_image_is_left_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match="nothing was written.*a.jpg: the file is empty"):
        convert(tmp_path, {"a": annotation("a.jpg")}, {"a.jpg": b""})
    assert not (tmp_path / "out.record").exists()


def test_a_size_that_contradicts_the_image(tmp_path):
    box = thing("cat", 15, 20, 30, 40)
    report, written = convert(
        tmp_path,
        {
            "a": annotation("a.jpg", box, size=(80, 60)),  # drawn on a copy of twice the size
            "b": annotation("b.jpg", box, size=(300, 40)),
            "c": annotation("c.jpg", box, size=None),
            "d": annotation("d.jpg", box, size=(1, "1e308")),
        },
        {"a.jpg": JPEG, "b.jpg": JPEG, "c.jpg": JPEG, "d.jpg": JPEG},
    )
    ymins = [values(example, "image/object/bbox/ymin")[0] for example in written]
    np.testing.assert_allclose(ymins, [0.25, 0.5, 0.5, 0.5])
    assert [values(example, "image/width") for example in written] == [[40]] * 4
    assert report.lines()[1:] == [
        f"{conversion_report.RESIZED}: 1 (a.xml)",
        f"{conversion_report.CONTRADICTION}: 2 (b.xml, d.xml)",
    ]


def test_a_photograph_annotated_in_a_viewer_that_turned_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    upright = annotation("a.jpg", thing("cat", 0, 0, 20, 15), size=(30, 40))
    report, [example] = convert(
        tmp_path, {"a": upright}, {"a.jpg": encoded(block_image(40, 30), exif=exif)}
    )
    assert values(example, "image/height") == [40]
    assert values(example, "image/width") == [30]
    assert values(example, "image/object/bbox/ymax") == [0.5]
    assert tf.io.decode_jpeg(values(example, "image/encoded")[0]).shape == (40, 30, 3)
    assert report.lines()[1:] == [f"{conversion_report.UPRIGHT}: 1 (a.jpg)"]


def test_unknown_classes_are_all_named_before_anything_is_written(tmp_path):
    objects = thing("cat", 1, 1, 2, 2) + thing("cow", 1, 1, 2, 2) + thing("Dog", 1, 1, 2, 2)
    with pytest.raises(DataError) as caught:
        convert(tmp_path, {"a": annotation("a.jpg", objects)}, {"a.jpg": JPEG})
    message = str(caught.value)
    assert "class 'cow', in " in message
    assert "class 'Dog', in " in message
    assert "a.xml" in message
    assert "map.pbtxt" in message
    assert "--output_label_map" in message
    assert not (tmp_path / "out.record").exists()


def test_unreadable_annotations_are_skipped_and_named(tmp_path):
    texts = {"a": "<annotation>", "b": annotation("b.jpg"), "c": "<svg/>"}
    directory = make_voc_directory(tmp_path / "v", texts, {"b.jpg": JPEG})
    notes = EntryNotes()
    [located] = voc_conversion.locate_annotations([directory], notes=notes)
    assert located.annotation.filename == "b.jpg"
    [line] = notes.lines()
    assert re.match(".* skipped, unreadable: 2 .*a.xml is not well.*c.xml is not", line)


def test_annotations_of_which_none_is_usable_are_an_error(tmp_path):
    directory = make_voc_directory(tmp_path / "v", {"a": "<annotation>"}, {"b.jpg": JPEG})
    with pytest.raises(voc_xml.VocError, match="unreadable: all 1 .*a.xml is not .*Correct them"):
        voc_conversion.locate_annotations([directory])
    bad = annotation("b.jpg", thing("cat", "x", 1, 2, 2))
    (directory / "Annotations" / "a.xml").write_text(bad)
    with pytest.raises(voc_xml.VocError, match="objects skipped, unusable: all 1 .*a.xml"):
        voc_conversion.locate_annotations([directory])


def test_boxes_that_are_fractions_are_refused(tmp_path):
    texts = {"a": annotation("a.jpg", thing("cat", 0.1, 0.25, 0.5, 1)), "b": annotation("b.jpg")}
    directory = make_voc_directory(tmp_path / "v", texts, {"a.jpg": JPEG, "b.jpg": JPEG})
    with pytest.raises(
        voc_xml.VocError,
        match=r"Annotations: all 1 boxes lie in 0..1 \(the first is \[0.25, 0.1, 1.0, 0.5\]\)",
    ):
        voc_conversion.locate_annotations([directory])
    # One larger box is enough for pixels.
    larger = thing("cat", 0.1, 0.25, 0.5, 1) + thing("cat", 1, 1, 9, 9)
    (directory / "Annotations" / "a.xml").write_text(annotation("a.jpg", larger))
    assert len(voc_conversion.locate_annotations([directory])) == 2


def test_two_annotations_of_one_image_are_refused(tmp_path):
    texts = {"a": annotation("a.jpg"), "b": annotation("a.jpg")}
    directory = make_voc_directory(tmp_path / "v", texts, {"a.jpg": JPEG})
    with pytest.raises(voc_xml.VocError, match="a.xml and .*b.xml both belong to an image.*a.jpg"):
        voc_conversion.locate_annotations([directory])


# The command line ---------------------------------------------------------------------------


def run(*arguments):
    command = [sys.executable, "-m", "object_detection_mtl.dataset_tools.create_pascal_tf_record"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)


def test_help_answers_at_once_and_lists_the_flags():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time, so that a busy machine does not fail the test.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    for flag in ("data_dir", "set", "year", "output_path", "label_map_path", "annotations_dir"):
        assert f"--{flag}:" in result.stdout
    assert "--[no]ignore_difficult_instances" in result.stdout


@pytest.mark.slow
def test_from_a_directory_to_shards_by_one_command(tmp_path):
    texts = {
        name: annotation(f"{name}.jpg", thing(kind, 1, 2, 20, 30))
        for name, kind in (("a", "dog"), ("b", "cat"), ("c", "dog"))
    }
    photos = {f"{name}.jpg": JPEG for name in texts}
    make_voc_directory(tmp_path / "VOC2007", texts, photos, {"train": "c\na\n", "val": "b\n"})
    arguments = (
        f"--data_dir={tmp_path}",
        f"--output_path={tmp_path}/out/train.record",
        f"--output_label_map={tmp_path}/out/map.pbtxt",
    )
    result = run(*arguments, "--num_shards=2")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "2 images with 2 objects written\nobjects of each class: dog 2\n"
    shards = sorted((tmp_path / "out").glob("train.record*"))
    assert [path.name for path in shards] == [f"train.record-0000{i}-of-00002" for i in (0, 1)]
    assert [values(item, "image/source_id") for item in examples(*shards)] == [
        [b"c.jpg"],
        [b"a.jpg"],
    ]
    # Numbers come from every annotation of the directory, so that they agree between the sets.
    assert dataset_label_map.load_labels(tmp_path / "out" / "map.pbtxt") == {"cat": 1, "dog": 2}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data_dir={}/nowhere"], "directory '.*nowhere' does not exist"),
        (["--data_dir={}", "--set=trian"], "set 'trian' does not exist"),
        (["--data_dir={}"], "(?s)lacks classes.*class 'quokka', in .*a.xml"),
        (["--data_dir={}", "--label_map_path={}/none.pbtxt"], "none.pbtxt"),
        (["--data_dir={}", "surplus"], "unexpected arguments"),
        (["--data_dir={}", "--label_map_path=a", "--output_label_map=b"], "are both given"),
    ],
)
def test_user_errors_are_one_message_and_exit_code_1(tmp_path, capsys, arguments, says):
    objects = thing("quokka", 1, 1, 9, 9)
    make_voc_directory(tmp_path / "v", {"a": annotation("a.jpg", objects)}, {"a.jpg": JPEG})
    arguments = [text.format(tmp_path / "v") for text in arguments]
    result = run(*arguments, f"--output_path={tmp_path}/out.record")
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(says, result.stderr), result.stderr
    assert not list(tmp_path.glob("*out.record*"))


def test_a_derived_label_map_does_not_overwrite_another(tmp_path):
    directory = make_voc_directory(
        tmp_path / "v", {"a": annotation(objects=thing("x", 1, 1, 2, 2))}, {}
    )
    path = tmp_path / "map.pbtxt"
    voc_conversion.derive_label_map([directory], "Annotations", path)
    voc_conversion.derive_label_map(
        [directory], "Annotations", path
    )  # The same again is no conflict.
    path.write_text('item { id: 1 name: "mine" }')
    with pytest.raises(FileExistsError, match="map.pbtxt exists and has other content"):
        voc_conversion.derive_label_map([directory], "Annotations", path)


def test_a_directory_given_as_the_derived_label_map_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory; .*label_map.pbtxt"):
        voc_conversion.derive_label_map([], "Annotations", tmp_path)


def test_label_map_names_of_any_kind_survive(tmp_path):
    labels = {'say "hi"': 1, "back\\slash": 2, "Bär": 3, "it's": 7, "two\nlines": 90}
    dataset_label_map.write_label_map(labels, tmp_path / "map.pbtxt")
    assert dataset_label_map.load_labels(tmp_path / "map.pbtxt") == labels


@needs_shared_data
def test_real_photographs_with_empty_boxes(tmp_path):
    located = voc_conversion.locate_annotations([SHARED / "data" / "bccd"], "trainval")
    labels = {"Platelets": 1, "RBC": 2, "WBC": 3}
    voc_conversion.check_classes(located, labels, "")
    images = voc_conversion.to_annotated_images(located, labels)
    report = record_conversion.create_records(images, tmp_path / "bccd.record")
    assert report.images == 292
    assert report.lines()[1:] == [
        f"{conversion_report.EMPTY}: 2 (BloodImage_00338.xml, BloodImage_00343.xml)"
    ]
