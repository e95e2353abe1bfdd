import re

import numpy as np
import pytest

from object_detection_mtl.export.runtimes import runtime_choice


def detections(*rows, size=5):
    """One image's detections (score, class, shift of the box), padded to `size`."""
    boxes, scores, classes = np.zeros((1, size, 4)), np.zeros((1, size)), np.ones((1, size))
    for i, (score, label, shift) in enumerate(rows):
        boxes[0, i] = np.array([0.1, 0.2, 0.3, 0.4]) + shift
        scores[0, i], classes[0, i] = score, label
    return {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": classes,
        "num_detections": np.array([len(rows)], np.float32),
    }


THREE = [(0.9, 1, 0), (0.5, 2, 0.1), (0.2, 1, 0.2)]


@pytest.mark.parametrize(
    "rows",
    [
        THREE,
        [(0.9009, 1, 0), (0.4995, 2, 0.1005), (0.2, 1, 0.2)],
        [(0.9, 1, 0), (0.5, 2, 0.1), (0.2005, 3, 0)],  # at the last place, after truncation
    ],
)
def test_equal(rows):
    assert (
        runtime_choice.explain_difference(detections(*rows, size=3), detections(*THREE, size=3))
        == ""
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0.9, 2, 0), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([(0.898, 1, 0), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([(0.9, 1, 0.0011), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([THREE[0], *THREE], "class 1 with score 0.9000 is extra"),
        ([], "class 1 .* is missing"),
        (THREE[:2], "class 1 with score 0.2.* is missing"),
        ([*THREE[:2], (0.2005, 3, 0)], "class 1 with score 0.2.* is missing"),
        ([(np.nan, 1, 0), *THREE[1:]], "not finite"),
    ],
)
def test_different(rows, words):
    difference = runtime_choice.explain_difference(detections(*rows), detections(*THREE))
    assert re.search(words, difference)


def test_ties_may_change_places():
    tie = [(0.5, 1, 0), (0.5, 2, 0.1), (0.1, 1, 0)]
    found = detections(tie[1], tie[0], tie[2])
    assert runtime_choice.explain_difference(found, detections(*tie)) == ""


def test_nothing_found():
    assert runtime_choice.explain_difference(detections(), detections()) == ""
    assert runtime_choice.explain_difference(detections(THREE[0]), detections()) != ""
