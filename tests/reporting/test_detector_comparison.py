import dataclasses

import pytest

from object_detection_mtl.reporting.detector_comparison import compare_detectors
from object_detection_mtl.reporting.evaluated_images import make_detections
from tests.reporting.hand_made import CAT, DOG, FAR, A, B, evaluation_set, image

TRUTH = [[(A, CAT)], [(A, CAT), (B, DOG)], [(B, DOG)]]


def found(*rows, name="detector"):
    """Return a set with these detections of the three images."""
    images = [image(t, f, f"image {i}") for i, (t, f) in enumerate(zip(TRUTH, rows, strict=True))]
    return dataclasses.replace(evaluation_set(images), name=name)


RIGHT = found([(A, 0.9, CAT)], [(A, 0.9, CAT), (B, 0.9, DOG)], [(B, 0.9, DOG)])
WITHOUT_DOGS = found([(A, 0.9, CAT)], [(A, 0.9, CAT)], [(FAR, 0.6, CAT)])


def test_differences_and_the_images_behind_them():
    made = compare_detectors([("a", [WITHOUT_DOGS]), ("b", [RIGHT])], num_resamples=50)
    (difference,) = made.differences
    assert difference.by_class[CAT].difference == 0
    assert difference.by_class[DOG].difference == 1
    assert difference.mean.difference == 0.5
    # A missed dog; a missed dog and a wrong detection with a score of 0.6.
    assert difference.image_gains.tolist() == [0, 1, 1.6]
    assert difference.best_images(5) == [2, 1]
    assert difference.best_images(1) == [2]
    assert difference.worst_images(5) == []


def test_the_other_way_round_the_reference_is_better():
    made = compare_detectors([("b", [RIGHT]), ("a", [WITHOUT_DOGS])], num_resamples=50)
    assert made.differences[0].worst_images(5) == [2, 1]
    assert made.differences[0].by_class[DOG].difference == -1


def test_runs_are_averaged():
    pooled = [RIGHT, WITHOUT_DOGS]
    made = compare_detectors([("a", [WITHOUT_DOGS]), ("b", pooled)], num_resamples=50)
    assert made.differences[0].mean.difference == 0.25
    assert made.detectors[1].class_aps() == [1, 0.5]
    assert made.detectors[1].metrics()["PascalBoxes_Precision/mAP@0.5IOU"] == 0.75


def test_a_note_of_some_detectors_names_them():
    noted = [
        dataclasses.replace(RIGHT, notes=notes)
        for notes in (("Seen.", "Empty."), ("Seen.",), ("Seen.", "Empty."))
    ]
    made = compare_detectors(
        [("a", noted[:1]), ("b", noted[1:2]), ("c", noted[1:])], num_resamples=10
    )
    assert made.notes() == ["Seen.", "a, c: Empty."]


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        ([("a", [RIGHT])], "comparison of 1 detectors"),
        ([("a", [RIGHT]), ("a", [RIGHT])], "expected unique names"),
        ([("a", [RIGHT]), ("b", [])], "'b' has no run"),
    ],
)
def test_impossible_comparisons_are_refused(detectors, message):
    with pytest.raises(ValueError, match=message):
        compare_detectors(detectors)


def test_other_ground_truth_is_refused():
    other = evaluation_set([image([(B, CAT)], [], f"image {i}") for i in range(3)])
    with pytest.raises(ValueError, match="expected the same ground truth"):
        compare_detectors([("a", [RIGHT]), ("b", [other])])


def test_detections_may_differ_in_number():
    more = dataclasses.replace(
        RIGHT,
        images=[
            dataclasses.replace(item, detections=make_detections([A] * 3, [0.1] * 3, [CAT] * 3))
            for item in RIGHT.images
        ],
    )
    made = compare_detectors([("a", [RIGHT]), ("b", [more])], num_resamples=10)
    assert made.differences[0].mean.difference < 0
