"""Conversion as a Beam pipeline, with the in-process runner."""

import functools
import importlib.util

import pytest

from object_detection_mtl.dataset_tools import (
    beam_conversion,
    conversion_report,
    create_coco_tf_record,
    record_conversion,
)
from object_detection_mtl.dataset_tools.annotated_images import (
    AnnotatedImage,
    AnnotatedObject,
    DataError,
)
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from tests import command_line
from tests.dataset_tools import coco_files
from tests.dataset_tools.record_contents import examples, values
from tests.dataset_tools.voc_files import block_image, encoded

# Looked for and not imported: that would take every process of the test run seconds.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs the extra [beam]"
)

OPTIONS = ConversionOptions(auxiliary_labels=AuxiliaryLabelOptions(1, num_windows=2))


def images_in(directory, number):
    """Every third image is missing."""
    for index in range(number):
        path = directory / f"{index}.jpg"
        path.write_bytes(encoded(block_image(seed=index)))
        objects = (AnnotatedObject("cat", 1, 1, 2, 20, 30 + index),)
        name = path.name
        yield AnnotatedImage(path if index % 3 else None, name, name, name, None, objects)


def load(directory, number):
    return list(images_in(directory, number))


def test_the_same_records_as_from_this_process_in_any_order(tmp_path):
    paths = [tmp_path / f"beam.record-0000{shard}-of-00002" for shard in range(2)]
    report = beam_conversion.create_records(
        functools.partial(load, tmp_path, 10),
        tmp_path / "beam.record",
        options=OPTIONS,
        num_shards=2,
    )
    expected = record_conversion.create_records(
        load(tmp_path, 10), tmp_path / "one.record", options=OPTIONS
    )
    assert report.lines() == expected.lines()
    assert report.lines()[1:] == [f"{conversion_report.MISSING}: 4 (0.jpg, 3.jpg, 6.jpg, 9.jpg)"]

    def contents(*files):
        return sorted(item.SerializeToString(deterministic=True) for item in examples(*files))

    assert contents(*paths) == contents(tmp_path / "one.record")
    assert sorted(path.name for path in tmp_path.glob("*beam*")) == [path.name for path in paths]


def test_no_usable_image_is_an_error_without_output(tmp_path):
    output = tmp_path / "out" / "a.record"
    with pytest.raises(DataError, match="nothing was written.*file not found: 1 .0.jpg"):
        beam_conversion.create_records(functools.partial(load, tmp_path, 1), output)
    assert not list(output.parent.iterdir())


def refuse():
    raise DataError("a.xml is not well-formed")


def test_errors_of_workers_arrive(tmp_path):
    with pytest.raises(ValueError, match="a.xml is not well-formed"):
        beam_conversion.create_records(refuse, tmp_path / "a.record")
    with pytest.raises(ValueError, match="--runner=NoRunner cannot be used"):
        beam_conversion.create_records(refuse, tmp_path / "a.record", runner="NoRunner")


def test_by_the_command_line(tmp_path):
    file = coco_files.write(
        tmp_path,
        [coco_files.image(1), coco_files.image(2)],
        [coco_files.thing(1, 90, 1, 2, 3, 4)],
    )
    coco_files.write_images(tmp_path / "in", {"000001.jpg": encoded(block_image())})
    arguments = (
        f"--annotations_file={file}",
        f"--image_dir={tmp_path}/in",
        f"--output_path={tmp_path}/a.record",
    )
    done = command_line.run(
        create_coco_tf_record,
        *arguments,
        "--runner=DirectRunner",
        "--runner_option=direct_num_workers=1",
    )
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "1 images with 1 objects written",
        f"{conversion_report.MISSING}: 1 (000002.jpg)",
        "objects of each class: dog 1",
    ]
    [example] = examples(tmp_path / "a.record")
    assert values(example, "image/object/class/label") == [90]
    done = command_line.run(
        create_coco_tf_record, *arguments, "--runner=DirectRunner", "--num_workers=2"
    )
    assert done.code == 1
    assert "direct_num_workers=4" in done.err
