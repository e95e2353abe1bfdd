"""One picture to one record, and many in several processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.dataset_tools import conversion_report, record_conversion
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedObject, AnnotatedPicture
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from tests.dataset_tools.voc_files import encoded, picture


def annotated(path, name, objects=()):
    return AnnotatedPicture(
        path=path, filename=name, source_id=name, origin=name, size=None, objects=tuple(objects)
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=6))
def test_whatever_boxes_come_those_kept_are_inside_and_have_an_area(corners):
    report = conversion_report.Summary()
    objects = [AnnotatedObject("cat", 1, *box) for box in corners]
    relative = np.array(corners).reshape(-1, 4) / [30, 40, 30, 40]
    boxes, kept = record_conversion._usable(annotated(None, "a.jpg", objects), relative, report)
    assert len(kept) == len(boxes)
    assert len(kept) + len(report.troubles.get(conversion_report.EMPTY, ())) == len(corners)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def folder_of(tmp_path, number):
    """Pictures of which every third is missing, with one object each."""
    pictures = []
    for index in range(number):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(encoded(picture(seed=index)))
        cat = AnnotatedObject("cat", 1, 1, 2, 20, 30 + index)
        pictures.append(annotated(path if index % 3 else None, path.name, [cat]))
    return pictures


@pytest.mark.slow
def test_records_do_not_depend_on_the_number_of_processes(tmp_path):
    pictures = folder_of(tmp_path, 20)
    labels = AuxiliaryLabelOptions(2, num_windows=3)
    options = ConversionOptions(auxiliary_labels=labels)
    contents, reports = [], []
    for number in (1, 2):
        path = tmp_path / f"{number}.record"
        report = record_conversion.create_records(
            pictures, path, options=options, num_shards=3, num_processes=number
        )
        reports.append(report.lines())
        contents.append(
            [tmp_path.joinpath(f"{path.name}-0000{n}-of-00003").read_bytes() for n in range(3)]
        )
    assert contents[0] == contents[1]
    assert reports[0] == reports[1]
    assert reports[0][0] == "13 pictures with 13 objects written"
