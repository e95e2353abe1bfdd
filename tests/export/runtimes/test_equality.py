import numpy as np
import pytest

from object_detection_mtl.export.runtimes import equality


def detections(*rows, size=5):
    """One picture's detections (score, class, shift of the box), padded to `size`."""
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
        [(0.9, 1, 0), (0.5, 2, 0.1), (0.2005, 3, 0)],  # at the last place, after a cut
    ],
)
def test_equal(rows):
    assert equality.why_different(detections(*rows, size=3), detections(*THREE, size=3)) == ""


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0.9, 2, 0), *THREE[1:]], "lacks class 1 with score 0.9"),
        ([(0.898, 1, 0), *THREE[1:]], "lacks class 1 with score 0.9"),
        ([(0.9, 1, 0.0011), *THREE[1:]], "lacks class 1 with score 0.9"),
        ([THREE[0], *THREE], "has class 1 with score 0.9000 besides"),
        ([], "lacks class 1"),
        (THREE[:2], "lacks class 1 with score 0.2"),
        ([*THREE[:2], (0.2005, 3, 0)], "lacks class 1 with score 0.2"),
        ([(np.nan, 1, 0), *THREE[1:]], "not numbers"),
    ],
)
def test_different(rows, words):
    assert words in equality.why_different(detections(*rows), detections(*THREE))


def test_ties_may_change_places():
    tie = [(0.5, 1, 0), (0.5, 2, 0.1), (0.1, 1, 0)]
    found = detections(tie[1], tie[0], tie[2])
    assert equality.why_different(found, detections(*tie)) == ""


def test_nothing_found():
    assert equality.why_different(detections(), detections()) == ""
    assert equality.why_different(detections(THREE[0]), detections()) != ""
