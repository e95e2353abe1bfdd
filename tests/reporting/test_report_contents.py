import numpy as np
import pytest

from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.reporting.report_contents import (
    ReportOptions,
    coco_numbers,
    report_contents,
)
from tests.reporting.hand_made import CAT, DOG, FAR, A, B, evaluation_set, feed, image, random_set


def test_coco_numbers_equal_the_evaluators():
    chosen = random_set(2)
    overall, by_class = coco_numbers(chosen)
    evaluator = CocoEvaluator(chosen.categories, include_metrics_per_category=True)
    expected = feed(evaluator, chosen.images).evaluate()
    for name, value in overall.items():
        reference = expected[f"DetectionBoxes_{name}"]
        assert value == pytest.approx(reference if reference >= 0 else np.nan, nan_ok=True)
    for category in chosen.categories:
        key = f"DetectionBoxes_PerformanceByCategory/mAP/{category.name}"
        assert by_class[category.id]["Precision/mAP"] == pytest.approx(expected[key])


def test_the_images_with_the_worst_mistakes_come_first():
    images = [
        image([(A, CAT)], [(A, 0.9, CAT)], "right"),
        image([(A, CAT), (B, DOG)], [], "two missed"),
        image([], [(FAR, 0.8, CAT)], "one wrong"),
    ]
    made = report_contents(evaluation_set(images), ReportOptions(max_gallery_images=2))
    assert made.gallery == [1, 2]
    assert report_contents(evaluation_set(images)).gallery == [1, 2, 0]


def test_the_mean_skips_classes_without_objects():
    made = report_contents(evaluation_set([image([(A, CAT)], [(A, 0.9, CAT), (FAR, 0.9, DOG)])]))
    assert made.voc_map == 1.0
    assert [item.num_objects for item in made.classes] == [1, 0]
    assert np.isnan(made.classes[1].voc_ap)
    assert np.isnan(made.classes[1].coco_ap)


def test_without_ground_truth_nothing_is_measured():
    made = report_contents(evaluation_set([image([], [(A, 0.9, CAT)])]))
    assert np.isnan(made.voc_map)
    assert all(np.isnan(value) for value in made.coco.values())
    assert made.metrics()["TIDE/Bkg"] == 0
    assert "The ground truth has no object" in made.evaluation.notes[0]


def test_missing_detections_are_noted():
    made = report_contents(evaluation_set([image([(A, CAT)], [])]))
    assert made.evaluation.notes == ("No image has a detection.",)
    assert made.voc_map == 0


def test_without_images_there_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        report_contents(evaluation_set([]))


def test_options_are_checked():
    with pytest.raises(ValueError, match="min_score is 2"):
        ReportOptions(min_score=2)
    with pytest.raises(ValueError, match="max_gallery_images is -1"):
        ReportOptions(max_gallery_images=-1)
