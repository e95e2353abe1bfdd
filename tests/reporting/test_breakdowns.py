import numpy as np
import pytest

from object_detection_mtl.reporting.breakdowns import (
    aspects,
    by_aspect,
    by_class_count,
    by_object_count,
    by_size,
    sizes,
)
from object_detection_mtl.reporting.object_matching import match_images
from tests.reporting.hand_made import CAT, DOG, image

SMALL, LARGE = [0, 0, 10, 10], [100, 100, 300, 300]


@pytest.mark.parametrize(
    ("area", "index"), [(1, 0), (1023, 0), (1024, 1), (9215, 1), (9216, 2), (1e6, 2)]
)
def test_sizes_are_cocos(area, index):
    assert sizes(np.array([area])).tolist() == [index]


@pytest.mark.parametrize(
    ("height", "width", "index"), [(4, 3, 0), (4, 3.01, 1), (100, 133, 1), (1, 2, 2), (0, 5, 2)]
)
def test_aspects(height, width, index):
    assert aspects(np.array([[0.0, 0.0, height, width]])).tolist() == [index]


def rows_by_label(rows):
    return {row.label: row for row in rows}


def test_a_group_ignores_detections_of_other_groups():
    found = [
        (SMALL, 0.9, CAT),
        (LARGE, 0.8, CAT),
        ([400, 400, 410, 410], 0.95, CAT),  # A small false positive.
    ]
    table = match_images([image([(SMALL, CAT), (LARGE, CAT)], found)])
    rows = rows_by_label(by_size(table, [CAT, DOG], 0.5))
    # The small false positive has the greatest score: precision 1/2 where the object is found.
    assert rows["small"].mean_ap == 0.5
    assert rows["large"].mean_ap == 1.0
    assert np.isnan(rows["medium"].mean_ap)
    assert [rows[label].num_objects for label in ("small", "medium", "large")] == [1, 0, 1]


def test_recall_is_that_of_scores_from_the_minimum_on():
    table = match_images(
        [image([(SMALL, CAT), (LARGE, CAT)], [(SMALL, 0.9, CAT), (LARGE, 0.2, CAT)])]
    )
    (row, *_) = by_object_count(table, [CAT], 0.5, 1)[1:]
    assert (row.label, row.recall, row.mean_ap) == ("2", 0.5, 1.0)


def test_images_by_their_number_of_objects_and_classes():
    images = [
        image([(SMALL, CAT)], [(SMALL, 0.9, CAT)]),
        image([(SMALL, CAT), (LARGE, DOG)], [(LARGE, 0.9, CAT)]),
        image([(LARGE, DOG)] * 3, []),
        image([], [(SMALL, 0.9, CAT)]),
    ]
    table = match_images(images)
    by_objects = rows_by_label(by_object_count(table, [CAT, DOG], 0.5, 4))
    assert {label: row.num_images for label, row in by_objects.items()} == {
        "1": 1,
        "2": 1,
        "3-5": 1,
        "6-10": 0,
        "11+": 0,
    }
    assert by_objects["1"].mean_ap == 1.0
    by_classes = rows_by_label(by_class_count(table, [CAT, DOG], 0.5, 4))
    assert by_classes["1"].num_images == 2
    assert by_classes["1"].mean_ap == 0.5  # The cat is found, three dogs are not.
    assert by_classes["2"].mean_ap == 0.0


def test_aspect_rows_have_all_objects():
    table = match_images([image([([0, 0, 10, 5], CAT), ([0, 50, 10, 90], CAT)], [])])
    assert [row.num_objects for row in by_aspect(table, [CAT], 0.5)] == [1, 0, 1]
