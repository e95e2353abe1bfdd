import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.evaluation.error_analysis import KINDS, ErrorAnalysis, classify_errors
from object_detection_mtl.evaluation.evaluator import ImageGroundtruth
from object_detection_mtl.inference.image_detections import ImageDetections
from tests.evaluation.sets import categories

CATS = categories("cat", "dog")
A, B, FAR = [0, 0, 10, 10], [100, 100, 110, 110], [500, 500, 510, 510]
NEAR_A = [0, 1, 10, 11]  # IoU with A: 9/11
LOOSE_A = [0, 5, 10, 15]  # 5/15
TOUCHING_A = [0, 9, 10, 19]  # 1/19, below the background threshold


def kinds(truth, found, **flags):
    """Kinds of detections [(box, score, class)], and which objects [(box, class)] are missed."""
    no = np.zeros(len(truth), bool)
    groundtruth = ImageGroundtruth(
        np.array([t[0] for t in truth], float).reshape(-1, 4),
        np.array([t[1] for t in truth], int),
        *(np.array(flags.get(f, no), bool) for f in ("difficult", "is_crowd", "group_of")),
        np.zeros(len(truth)),
    )
    detections = ImageDetections(
        np.array([f[0] for f in found], float).reshape(-1, 4),
        np.array([f[1] for f in found], float),
        np.array([f[2] for f in found], int),
    )
    names, missed = classify_errors(groundtruth, detections)
    return [KINDS[i] if i >= 0 else "ignored" for i in names], missed.tolist()


@pytest.mark.parametrize(
    ("box", "label", "kind", "missed"),
    [
        (NEAR_A, 1, "TruePositive", False),
        (LOOSE_A, 1, "Localisation", True),
        (NEAR_A, 2, "Classification", True),
        (LOOSE_A, 2, "Classification", True),
        (TOUCHING_A, 1, "Background", True),
        (TOUCHING_A, 2, "Background", True),
        (FAR, 1, "Background", True),
    ],
)
def test_one_detection_of_one_cat(box, label, kind, missed):
    assert kinds([(A, 1)], [(box, 0.9, label)]) == ([kind], [missed])


def test_the_second_detection_of_an_object_is_redundant_whatever_the_order():
    assert kinds([(A, 1)], [(A, 0.6, 1), (NEAR_A, 0.7, 1)]) == (
        ["Redundancy", "TruePositive"],
        [False],
    )


def test_a_detection_between_two_classes_belongs_to_the_object_it_overlaps_most():
    cat, dog = [0, 0, 10, 10], [0, 12, 10, 22]
    # Overlaps with the cat 4/16, with the dog 4/16: a tie goes to the detection's class.
    middle = [0, 6, 10, 16]
    assert kinds([(cat, 1), (dog, 2)], [(middle, 0.9, 1)])[0] == ["Localisation"]
    assert kinds([(cat, 1), (dog, 2)], [(middle, 0.9, 2)])[0] == ["Localisation"]
    nearer_the_dog = [0, 7, 10, 17]
    assert kinds([(cat, 1), (dog, 2)], [(nearer_the_dog, 0.9, 1)])[0] == ["Classification"]


def test_the_detections_class_takes_precedence_for_overlapping_objects():
    """A rider on a horse: the box fits the horse better, but also the rider."""
    assert kinds([(NEAR_A, 1), (A, 2)], [(A, 0.9, 1)]) == (["TruePositive"], [False, True])


@pytest.mark.parametrize("flag", ["difficult", "is_crowd", "group_of"])
def test_objects_that_need_not_be_detected(flag):
    found = [(A, 0.9, 1), (NEAR_A, 0.8, 1), (FAR, 0.7, 1)]
    assert kinds([(A, 1)], found, **{flag: [True]}) == (
        ["ignored", "ignored", "Background"],
        [False],
    )


def test_detections_inside_a_crowd_of_their_class_are_ignored():
    crowd = [0, 0, 100, 100]
    found = [(A, 0.9, 1), (A, 0.9, 2), ([0, 95, 10, 105], 0.9, 1), ([0, 96, 10, 106], 0.9, 1)]
    names, _ = kinds([(crowd, 1)], found, is_crowd=[True])
    assert names == ["ignored", "Background", "ignored", "Background"]


def test_an_object_inside_a_crowd_is_still_found():
    assert kinds([(A, 1), ([0, 0, 100, 100], 1)], [(A, 0.9, 1)], is_crowd=[False, True]) == (
        ["TruePositive"],
        [False, False],
    )


def test_nothing():
    assert kinds([], []) == ([], [])
    assert kinds([(A, 1)], []) == ([], [True])
    assert kinds([], [(A, 0.9, 1)]) == (["Background"], [])


def test_counts_of_two_images():
    evaluator = ErrorAnalysis(CATS)
    evaluator.add_groundtruth(1, [A, B], [1, 2])
    evaluator.add_detections(1, [A, NEAR_A, B, FAR], [0.9, 0.8, 0.7, 0.49], [1, 1, 1, 1])
    evaluator.add_groundtruth(2, [A], [2])
    evaluator.add_detections(2, [LOOSE_A, FAR], [0.5, 0.6], [2, 2])
    zero = dict.fromkeys(KINDS, 0)
    assert evaluator.counts() == {
        1: zero | {"TruePositive": 1, "Redundancy": 1, "Classification": 1},
        2: zero | {"FalseNegative": 2, "Localisation": 1, "Background": 1},
    }
    metrics = evaluator.evaluate()
    assert metrics["ErrorAnalysis/FalseNegative"] == 2
    assert metrics["ErrorAnalysis/TruePositive"] == 1
    assert metrics["ErrorAnalysis_ByCategory/Classification/cat"] == 1
    assert metrics["ErrorAnalysis_ByCategory/Classification/dog"] == 0
    assert len(metrics) == 3 * len(KINDS)


def test_impossible_thresholds():
    with pytest.raises(ValueError, match="0.6 and 0.5|0.5 and 0.6"):
        ErrorAnalysis(CATS, matching_iou_threshold=0.5, background_iou_threshold=0.6)


box = st.tuples(st.integers(0, 15), st.integers(0, 15)).map(lambda p: [*p, p[0] + 10, p[1] + 10])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(box, st.integers(1, 2)), max_size=5),
    st.lists(st.tuples(box, st.floats(0, 1), st.integers(1, 2)), max_size=8),
)
def test_kinds_partition_detections_and_objects(truth, found):
    names, missed = kinds(truth, found)
    assert "ignored" not in names
    assert "FalseNegative" not in names
    assert names.count("TruePositive") + sum(missed) == len(truth)
