"""Conversion of one image, and of many in several processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    boxes, kept = record_conversion._stored_boxes(
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
