import pytest

from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.evaluation.error_analysis import ErrorAnalysis
from object_detection_mtl.evaluation.metrics_sets import (
    KNOWN_METRICS_SETS,
    MetricsOptions,
    make_evaluators,
)
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from tests.evaluation.sets import categories

CATS = categories("cat", "dog")
A, B = [0, 0, 50, 50], [100, 100, 150, 150]


def metrics_of(name, options=None, **extras):
    (evaluator,) = make_evaluators([name], CATS, options)
    evaluator.add_groundtruth(1, [A, B], [1, 1], **extras)
    evaluator.add_detections(1, [A, [0, 10, 50, 60], B], [0.9, 0.8, 0.7], [1, 1, 1])
    return evaluator.evaluate()


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("coco_detection_metrics", "DetectionBoxes_Precision/mAP"),
        ("coco_metrics", "DetectionBoxes_Precision/mAP"),
        ("pascal_voc_detection_metrics", "PascalBoxes_Precision/mAP@0.5IOU"),
        ("pascal_voc_metrics", "PascalBoxes_Precision/mAP@0.5IOU"),
        ("weighted_pascal_voc_detection_metrics", "WeightedPascalBoxes_Precision/mAP@0.5IOU"),
        ("precision_at_recall_detection_metrics", "PrecisionAtRecallBoxes_Precision/mAP@0.5IOU"),
        ("oid_V2_detection_metrics", "OpenImagesV2_Precision/mAP@0.5IOU"),
        ("oid_challenge_detection_metrics", "OpenImagesDetectionChallenge_Precision/mAP@0.5IOU"),
        ("error_analysis", "ErrorAnalysis/TruePositive"),
    ],
)
def test_names_lead_to_the_metrics_of_the_od_api(name, first):
    assert next(iter(metrics_of(name))) == first


@pytest.mark.parametrize("name", KNOWN_METRICS_SETS)
def test_every_known_name_works(name):
    assert metrics_of(name)


def test_order_is_kept_and_duplicates_are_removed():
    names = ["pascal_voc_detection_metrics", "coco_metrics", "coco_detection_metrics"]
    kinds = [type(evaluator) for evaluator in make_evaluators([*names, "error_analysis"], CATS)]
    assert kinds == [PascalVocEvaluator, CocoEvaluator, ErrorAnalysis]


@pytest.mark.parametrize("names", [["coco_detection_metrics", "coco_mask_metrics"], []])
def test_errors_for_unknown_names_list_the_known_ones(names):
    with pytest.raises(ValueError, match="eval_config.metrics_set") as error:
        make_evaluators(names, CATS)
    message = str(error.value)
    assert ("'coco_mask_metrics'" if names else "no name") in message
    assert "'coco_detection_metrics'" not in message
    assert all(known in message for known in KNOWN_METRICS_SETS)


def test_options_reach_the_metrics():
    name = "pascal_voc_detection_metrics"
    ap = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/cat"
    assert metrics_of(name)[ap] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert metrics_of(name, MetricsOptions(nms_iou_threshold=0.6))[ap] == pytest.approx(1.0)
    options = MetricsOptions(matching_iou_threshold=0.75)
    assert "PascalBoxes_Precision/mAP@0.75IOU" in metrics_of(name, options)

    options = MetricsOptions(recall_bounds=(0.0, 0.5))
    metrics = metrics_of("precision_at_recall_detection_metrics", options)
    assert metrics["PrecisionAtRecallBoxes_Precision/mAP@0.5IOU@[0.0,0.5]Recall"] == 0.5

    name = "coco_detection_metrics"
    per_category = MetricsOptions(include_metrics_per_category=True)
    assert "DetectionBoxes_PerformanceByCategory/mAP/cat" in metrics_of(name, per_category)
    everything = MetricsOptions(all_metrics_per_category=True)
    assert "DetectionBoxes_Recall AR@10 ByCategory/cat" in metrics_of(name, everything)
    groups = MetricsOptions(super_categories={"pets": ["cat", "dog"]})
    assert "DetectionBoxes_PerformanceBySuperCategory/pets" in metrics_of(name, groups)

    assert metrics_of("error_analysis")["ErrorAnalysis/TruePositive"] == 2
    strict = MetricsOptions(min_score=0.85)
    assert metrics_of("error_analysis", strict)["ErrorAnalysis/TruePositive"] == 1


def test_difficult_and_groups_mean_what_they_mean_to_each_metric():
    """PASCAL VOC uses difficult objects and no groups; Open Images the reverse."""
    pascal = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/cat"
    open_images = "OpenImagesV2_PerformanceByCategory/AP@0.5IOU/cat"
    plain = metrics_of("pascal_voc_detection_metrics")[pascal]
    for flag, pascal_value, open_images_value in [
        ("difficult", 1.0, plain),  # both detections at the difficult A are ignored
        ("group_of", plain, 1.0),  # both detections inside the group A are ignored
    ]:
        extras = {flag: [True, False]}
        value = metrics_of("pascal_voc_detection_metrics", **extras)[pascal]
        assert value == pytest.approx(pascal_value)
        value = metrics_of("oid_V2_detection_metrics", **extras)[open_images]
        assert value == pytest.approx(open_images_value)


def challenge(groundtruth, detections):
    """Return the average precision of the cats by the Open Images challenge."""
    (evaluator,) = make_evaluators(["oid_challenge_detection_metrics"], CATS)
    for image_id, (boxes, classes, extras) in enumerate(groundtruth):
        evaluator.add_groundtruth(image_id, boxes, classes, **extras)
        evaluator.add_detections(image_id, *detections[image_id])
    return evaluator.evaluate()["OpenImagesDetectionChallenge_PerformanceByCategory/AP@0.5IOU/cat"]


@pytest.mark.parametrize(("looked_for", "expected"), [([], 1.0), ([2], 1.0), ([1], 0.5)])
def test_the_challenge_ignores_classes_that_nobody_looked_for(looked_for, expected):
    """The second image has no cat; a cat found there is wrong only if cats were looked for."""
    groundtruth = [([A], [1], {}), ([B], [2], {"image_classes": looked_for})]
    assert challenge(groundtruth, [([A], [0.8], [1]), ([A], [0.9], [1])]) == expected


def test_in_the_challenge_a_group_counts_as_one_object():
    """Of two detections inside the group the better one is a hit; then B is found: 2 of 2."""
    groundtruth = [([A, B], [1, 1], {"group_of": [True, False]})]
    inside = [[0, 0, 25, 25], [25, 25, 50, 50]]
    assert challenge(groundtruth, [([*inside, B], [0.9, 0.8, 0.7], [1, 1, 1])]) == 1.0
    assert challenge(groundtruth, [([B], [0.7], [1])]) == 0.5
