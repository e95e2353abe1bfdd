"""Evaluators with the OD API's methods, against those of this package."""

import numpy as np
import pytest

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.odapi.core.standard_fields import (
    DetectionResultFields,
    InputDataFields,
)
from object_detection_mtl.odapi.metrics import coco_evaluation
from object_detection_mtl.odapi.utils import object_detection_evaluation as evaluation
from object_detection_mtl.odapi.utils import per_image_evaluation

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
GROUNDTRUTH = {
    InputDataFields.groundtruth_boxes: np.array([[0, 0, 50, 50], [60, 60, 90, 90]], np.float32),
    InputDataFields.groundtruth_classes: np.array([1, 2]),
}
DETECTIONS = {
    DetectionResultFields.detection_boxes: np.array(
        [[0, 0, 50, 45], [0, 0, 20, 20], [60, 60, 90, 90]], np.float32
    ),
    DetectionResultFields.detection_scores: np.array([0.9, 0.8, 0.7], np.float32),
    DetectionResultFields.detection_classes: np.array([1, 1, 2]),
}


def fill(evaluator):
    evaluator.add_single_ground_truth_image_info("a", GROUNDTRUTH)
    evaluator.add_single_detected_image_info("a", DETECTIONS)
    return evaluator


def metrics_of(evaluator):
    evaluator.add_groundtruth(
        "a", GROUNDTRUTH["groundtruth_boxes"], GROUNDTRUTH["groundtruth_classes"]
    )
    evaluator.add_detections("a", *DETECTIONS.values())
    return evaluator.evaluate()


def categories():
    return [Category(c["id"], c["name"], c["name"]) for c in CATEGORIES]


@pytest.mark.parametrize("options", [{}, {"include_metrics_per_category": True}])
def test_coco(options):
    evaluator = fill(coco_evaluation.CocoDetectionEvaluator(CATEGORIES, **options))
    metrics = evaluator.evaluate()
    assert metrics == metrics_of(CocoEvaluator(categories(), **options))
    assert metrics["DetectionBoxes_Precision/mAP@.50IOU"] == pytest.approx(1.0)
    assert ("DetectionBoxes_PerformanceByCategory/mAP/cat" in metrics) == bool(options)


def test_pascal_voc_under_three_prefixes():
    expected = metrics_of(PascalVocEvaluator(categories()))
    assert fill(evaluation.PascalDetectionEvaluator(CATEGORIES)).evaluate() == expected
    plain = fill(evaluation.ObjectDetectionEvaluator(CATEGORIES)).evaluate()
    assert plain["Precision/mAP@0.5IOU"] == expected["PascalBoxes_Precision/mAP@0.5IOU"]
    open_images = fill(evaluation.OpenImagesDetectionEvaluator(CATEGORIES)).evaluate()
    assert "OpenImagesV2_PerformanceByCategory/AP@0.5IOU/dog" in open_images


def test_an_image_is_added_once(caplog):
    evaluator = fill(fill(coco_evaluation.CocoDetectionEvaluator(CATEGORIES)))
    assert "its ground truth was already added" in caplog.text
    assert "its detections were already added" in caplog.text
    evaluator.clear()
    with pytest.raises(ValueError, match="without ground truth"):
        evaluator.add_single_detected_image_info("a", DETECTIONS)


def test_empty_flags_mean_unknown():
    evaluator = evaluation.PascalDetectionEvaluator(CATEGORIES)
    flags = {InputDataFields.groundtruth_difficult: np.array([], dtype=bool)}
    evaluator.add_single_ground_truth_image_info("a", {**GROUNDTRUTH, **flags})


def test_classes_from_zero():
    made = evaluation.ObjectDetectionEvaluation(num_groundtruth_classes=3)
    made.add_single_ground_truth_image_info("a", GROUNDTRUTH["groundtruth_boxes"], np.array([0, 1]))
    made.add_single_detected_image_info(
        "a",
        DETECTIONS["detection_boxes"],
        DETECTIONS["detection_scores"],
        DETECTIONS["detection_classes"] - 1,
    )
    result = made.evaluate()
    np.testing.assert_array_equal(result.average_precisions, [1.0, 1.0, np.nan])
    assert result.mean_ap == 1.0
    assert result.mean_corloc == 1.0
    np.testing.assert_allclose(result.precisions[0], [1.0, 0.5])
    np.testing.assert_allclose(result.recalls[0], [1.0, 1.0])
    made.clear_detections()
    assert made.evaluate().mean_ap == 0.0


def test_one_image():
    made = per_image_evaluation.PerImageEvaluation(
        num_groundtruth_classes=3, matching_iou_threshold=0.5, nms_iou_threshold=1.0
    )
    scores, labels, correct = made.compute_object_detection_metrics(
        detected_boxes=DETECTIONS["detection_boxes"],
        detected_scores=DETECTIONS["detection_scores"],
        detected_class_labels=np.array([0, 0, 1]),
        groundtruth_boxes=GROUNDTRUTH["groundtruth_boxes"],
        groundtruth_class_labels=np.array([0, 1]),
        groundtruth_is_difficult_list=np.array([False, False]),
        groundtruth_is_group_of_list=np.array([False, False]),
    )
    np.testing.assert_allclose(scores[0], [0.9, 0.8], rtol=1e-6)
    assert [list(row) for row in labels] == [[True, False], [True], []]
    assert list(correct) == [1, 1, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: evaluation.ObjectDetectionEvaluator(CATEGORIES, evaluate_masks=True),
        lambda: coco_evaluation.CocoDetectionEvaluator(
            CATEGORIES, skip_predictions_for_unlabeled_class=True
        ),
    ],
)
def test_unsupported_options(make):
    with pytest.raises(ValueError, match="is unsupported"):
        make()
