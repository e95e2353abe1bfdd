import numpy as np
import pytest

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.evaluation.error_analysis import ErrorAnalysis
from object_detection_mtl.evaluation.evaluator import names_by_id
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from tests.evaluation.sets import categories

CATS = categories("cat", "dog")
BOX = [[0, 0, 10, 10]]
EVALUATORS = [PascalVocEvaluator, CocoEvaluator, ErrorAnalysis]


@pytest.fixture(params=EVALUATORS)
def evaluator(request):
    return request.param(CATS)


def test_classes_are_reported_by_display_name():
    named = [Category(3, "/m/01", "cat"), Category(1, "dog", "dog"), Category(7, "/m/02", "cat")]
    assert names_by_id(named) == {1: "dog", 3: "cat (3)", 7: "cat (7)"}


@pytest.mark.parametrize("bad", [[], [Category(0, "a", "a")], [Category(1, "a", "a")] * 2])
def test_impossible_categories(bad):
    with pytest.raises(ValueError, match="ategor"):
        names_by_id(bad)


@pytest.mark.parametrize(
    ("boxes", "classes", "message"),
    [
        ([[0, 0, 1]], [1], r"boxes: expected an array of shape \[n, 4\], got \[1, 3\]"),
        (BOX, [1, 2], r"classes: expected an array of shape \[1\], got \[2\]"),
        (BOX, [], r"classes: expected an array of shape \[1\], got \[0\]"),
        ([[0, 0, np.nan, 1]], [1], r"the value at \[0, 2\] is nan"),
        (BOX, [3], "class 3 is not one of the 2 categories"),
        (BOX, [0], "class 0 is not one of the 2 categories"),
    ],
)
def test_impossible_ground_truth(evaluator, boxes, classes, message):
    with pytest.raises(ValueError, match=message) as error:
        evaluator.add_groundtruth("img7", boxes, classes)
    assert "img7" in str(error.value)


def test_flags_must_match_the_boxes(evaluator):
    with pytest.raises(ValueError, match="difficult: expected 1 flags, one per box, got 2"):
        evaluator.add_groundtruth("a", BOX, [1], difficult=[True, False])


@pytest.mark.parametrize(
    ("scores", "classes", "message"),
    [([0.5, 0.4], [1], "scores"), ([np.inf], [1], "is inf"), ([0.5], [[1, 1]], "classes")],
)
def test_impossible_detections(evaluator, scores, classes, message):
    evaluator.add_groundtruth("a", [], [])
    with pytest.raises(ValueError, match=message):
        evaluator.add_detections("a", BOX, scores, classes)


def test_every_image_once_and_ground_truth_first(evaluator):
    with pytest.raises(ValueError, match="Call add_groundtruth first"):
        evaluator.add_detections("a", BOX, [0.5], [1])
    evaluator.add_groundtruth("a", [], [])
    with pytest.raises(ValueError, match="already added"):
        evaluator.add_groundtruth("a", [], [])
    evaluator.add_detections("a", [], [], [])
    with pytest.raises(ValueError, match="already added"):
        evaluator.add_detections("a", [], [], [])


def test_detections_of_a_class_outside_the_label_map_are_ignored(evaluator):
    evaluator.add_groundtruth("a", BOX, [1])
    evaluator.add_detections("a", BOX, [0.9], [1])
    expected = evaluator.evaluate()
    evaluator.clear()
    evaluator.add_groundtruth("a", BOX, [1])
    evaluator.add_detections("a", BOX * 3, [0.9, 0.95, 0.99], [1, 3, 0])
    np.testing.assert_equal(evaluator.evaluate(), expected)


def test_evaluate_can_be_repeated_and_clear_removes_images(evaluator):
    nothing = evaluator.evaluate()
    evaluator.add_groundtruth("a", BOX, [1])
    evaluator.add_detections("a", BOX, [0.9], [1])
    first = evaluator.evaluate()
    np.testing.assert_equal(evaluator.evaluate(), first)
    assert first != nothing
    assert evaluator.num_images == 1
    evaluator.clear()
    np.testing.assert_equal(evaluator.evaluate(), nothing)
    assert evaluator.num_images == 0
