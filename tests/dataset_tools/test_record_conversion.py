"""Conversion of one image, and of many in several processes."""

import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from object_detection_mtl.data import annotated_pixels, image_decoding, image_files
from object_detection_mtl.dataset_tools import conversion_report, record_conversion
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage, AnnotatedObject
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from tests.dataset_tools.voc_files import block_image, encoded


def annotated(path, name, objects=()):
    return AnnotatedImage(
        path=path, filename=name, source_id=name, origin=name, size=None, objects=tuple(objects)
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=6))
def test_whatever_boxes_come_those_kept_are_inside_and_have_an_area(corners):
    report = conversion_report.ConversionReport()
    objects = [AnnotatedObject("cat", 1, *box) for box in corners]
    relative = np.array(corners).reshape(-1, 4) / [30, 40, 30, 40]
    boxes, kept = record_conversion.stored_boxes(
        annotated(None, "a.jpg", objects), relative, report
    )
    assert len(kept) == len(boxes)
    assert len(kept) + len(report.issues.get(conversion_report.EMPTY, ())) == len(corners)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def directory_of(tmp_path, number):
    """Images of which every third is missing, with one object each."""
    images = []
    for index in range(number):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(encoded(block_image(seed=index)))
        cat = AnnotatedObject("cat", 1, 1, 2, 20, 30 + index)
        images.append(annotated(path if index % 3 else None, path.name, [cat]))
    return images


@pytest.mark.slow
def test_records_do_not_depend_on_the_number_of_processes(tmp_path):
    images = directory_of(tmp_path, 20)
    labels = AuxiliaryLabelOptions(2, num_windows=3)
    options = ConversionOptions(auxiliary_labels=labels)
    contents, reports = [], []
    for number in (1, 2):
        path = tmp_path / f"{number}.record"
        report = record_conversion.create_records(
            images, path, options=options, num_shards=3, num_processes=number
        )
        reports.append(report.lines())
        contents.append(
            [tmp_path.joinpath(f"{path.name}-0000{n}-of-00003").read_bytes() for n in range(3)]
        )
    assert contents[0] == contents[1]
    assert reports[0] == reports[1]
    assert reports[0][0] == "13 images with 13 objects written"


def convert(path, size=None, **options):
    annotated = AnnotatedImage(
        path=path, filename="a", source_id="a", origin="a.xml", size=size, objects=()
    )
    return record_conversion.convert_image(annotated, ConversionOptions(**options))


@pytest.mark.parametrize("kind", ["dangling link", "directory", "pipe", "long name", "permission"])
def test_a_path_that_cannot_be_read_skips_the_image(tmp_path, kind):
    path = tmp_path / "a.jpg"
    if kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "long name":
        path = tmp_path / ("x" * 300)
    else:
        path.write_bytes(b"")
        path.chmod(0)
    serialized, report = convert(path)
    assert serialized is None
    [line] = report.lines()[1:]
    assert line.startswith(f"images skipped, unreadable: 1 ({tmp_path}")


@pytest.mark.parametrize(
    ("orientation", "size", "is_turned"),
    [
        (6, None, True),
        (6, (40, 30), True),
        (6, (30, 40), False),
        (6, (15, 20), False),  # a small copy of what is stored
        (6, (80, 60), True),  # a large copy of what viewers show
        (6, (33, 33), True),  # neither
        (3, (30, 40), True),
        (3, None, True),
        (1, (40, 30), False),
    ],
)
def test_the_size_of_the_annotation_or_the_viewers_decide_on_orientation(
    tmp_path, orientation, size, is_turned
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(block_image(40, 30), exif=exif))
    _, report = convert(path, size)
    assert (conversion_report.UPRIGHT in report.issues) == is_turned
    assert (conversion_report.NOT_UPRIGHT in report.issues) == (orientation > 1 and not is_turned)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (32, 40), (40, 32)])
def test_training_evaluation_and_detection_see_the_same_pixels(
    tmp_path, format_name, orientation, size
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    path = tmp_path / "a"
    path.write_bytes(
        encoded(block_image(40, 32), format_name, exif=exif, **quality.get(format_name, {}))
    )
    example = tf.train.Example.FromString(convert(path, size).serialized)
    feature = example.features.feature
    trained = image_decoding.decode_rgb_image(feature["image/encoded"].bytes_list.value[0]).numpy()
    evaluated = annotated_pixels.decode_annotated(path.read_bytes(), size)
    assert trained.shape == evaluated.shape
    assert np.abs(trained.astype(int) - evaluated).mean() < 3
    if size is None:  # what viewers show
        detected = image_files.read_image(path)
        assert np.abs(evaluated.astype(int) - detected).mean() == 0


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1", b"msf1"])
def test_heic_files_are_counted_at_the_end(tmp_path, brand):
    report = conversion_report.ConversionReport()
    for name, data in (("a.heic", b"\0\0\0\x18ftyp" + brand + bytes(20)), ("b.jpg", b"no image")):
        (tmp_path / name).write_bytes(data)
        report.add(convert(tmp_path / name).report)
    skipped, camera_formats = report.lines()[1:]
    assert skipped.startswith("images skipped, unreadable: 2 (")
    assert camera_formats == "of these HEIC or AVIF; convert them to JPEG: 1 (a.heic)"


def test_corrupt_data_in_the_middle_are_found_by_default(tmp_path):
    data = bytearray(encoded(block_image(200, 160), "PNG"))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    assert convert(tmp_path / "a.png").serialized is None
    assert convert(tmp_path / "a.png", verify_images=False).serialized is not None
