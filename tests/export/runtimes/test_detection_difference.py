"""Difference of detections, by hand-worked numbers."""

import numpy as np
import pytest

from object_detection_mtl.export.runtimes.detection_difference import detection_difference


def detections(*images, size=3):
    """Return a batch of images of rows (score, class, left edge); boxes are one unit wide."""
    number = len(images)
    found = {
        "detection_boxes": np.zeros((number, size, 4)),
        "detection_scores": np.zeros((number, size)),
        "detection_classes": np.ones((number, size)),
        "num_detections": np.array([len(rows) for rows in images], np.float32),
    }
    for image, rows in enumerate(images):
        for row, (score, label, left) in enumerate(rows):
            found["detection_boxes"][image, row] = [0, left, 1, left + 1]
            found["detection_scores"][image, row] = score
            found["detection_classes"][image, row] = label
    return found


TWO = [(0.8, 1, 0), (0.4, 2, 0)]
CASES = {
    "equal": (TWO, 0.0),
    "another order": (TWO[::-1], 0.0),
    "a lower score": ([(0.6, 1, 0), (0.4, 2, 0)], 0.2 / 1.2),
    "a missing one": (TWO[:1], 0.4 / 1.2),
    "an extra one": ([*TWO, (0.3, 1, 5)], 0.3 / 1.5),
    "a moved box, with an IoU of 0.6": ([(0.8, 1, 0.25), (0.4, 2, 0)], 0.32 / 1.2),
    "a box too far away": ([(0.8, 1, 0.5), (0.4, 2, 0)], 1.6 / 2),
    "another class": ([(0.8, 3, 0), (0.4, 2, 0)], 1.6 / 2),
    "nothing": ([], 1.0),
}


@pytest.mark.parametrize(("rows", "difference"), CASES.values(), ids=CASES)
def test_difference(rows, difference):
    measured = detection_difference(detections(rows), detections(TWO))
    assert measured == pytest.approx(difference)
    assert detection_difference(detections(TWO), detections(rows)) == pytest.approx(difference)


def test_mean_over_images():
    found, expected = detections(TWO, [], TWO), detections(TWO, [], [])
    assert detection_difference(found, expected) == pytest.approx(1 / 3)


def test_values_that_are_not_finite():
    assert np.isnan(detection_difference(detections([(np.nan, 1, 0)]), detections(TWO)))
