"""Pascal VOC metrics against the recorded ones of the OD API."""

import itertools

import numpy as np
import pytest

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.pascal_voc import (
    PascalVocEvaluator,
    average_precision,
    precision_recall,
)
from tests.evaluation.sets import feed_golden, golden_metrics, golden_set

VARIANTS = {
    "pascal_voc_detection_metrics (IoU 0.5, difficult used)": {},
    "pascal_voc_detection_metrics (IoU 0.5, no difficult flags)": {"difficult": False},
    "pascal_voc_detection_metrics nms_iou_threshold=0.3": {"nms_iou_threshold": 0.3},
    "ObjectDetectionEvaluator matching_iou_threshold=0.3 corloc+pr": {
        "matching_iou_threshold": 0.3,
        "prefix": "",
        "evaluate_corloc": True,
    },
    "ObjectDetectionEvaluator matching_iou_threshold=0.7 corloc+pr": {
        "matching_iou_threshold": 0.7,
        "prefix": "",
        "evaluate_corloc": True,
    },
    "weighted_pascal_voc_detection_metrics": {"prefix": "WeightedPascalBoxes", "weighted": True},
}


def golden_categories():
    return [Category(c["id"], c["name"], c["name"]) for c in golden_set()["categories"]]


@pytest.mark.golden
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_the_recorded_metrics(variant):
    """Compare to 1e-12, except numbers that depend on the order of equal scores.

    Some detections of the set share their score (.99 and others). The recorded run ranked them by
    an unstable sort, in one order for one array and in another for the next. Such a number must be
    one of those that some order of the equal scores gives; all others must agree as they are.
    """
    kwargs = dict(VARIANTS[variant])
    difficult = kwargs.pop("difficult", True)
    evaluator = PascalVocEvaluator(golden_categories(), **kwargs)
    metrics = feed_golden(evaluator, difficult=difficult).evaluate()
    expected = golden_metrics(variant)
    assert metrics.keys() == expected.keys()
    judged, num_objects = evaluator.judge_all()
    by_order = []
    for name, value in expected.items():
        if abs(metrics[name] - value) < 1e-12:
            continue
        by_order.append(name)
        label = name.split("/c")[-1]
        ids = [int(label)] if label.isdigit() else [1, 2, 3, 4, 5]
        chosen = np.isin(judged.classes, ids)
        attainable = values_of_all_orders(
            judged.scores[chosen], judged.hits[chosen], num_objects[ids].sum()
        )
        if "mAP" not in name or kwargs.get("weighted"):
            assert np.min(np.abs(attainable - value)) < 1e-12, name
    means = [name for name in expected if "mAP@" in name and not kwargs.get("weighted")]
    for name in means:  # the recorded mean is that of the recorded classes, and ours of ours
        for numbers in (expected, metrics):
            classes = [v for k, v in numbers.items() if "/AP@" in k]
            assert numbers[name] == pytest.approx(np.mean(classes), abs=1e-12)
    # The order of equal scores may affect at most the mean and two classes.
    assert len(by_order) <= 3, by_order


def values_of_all_orders(scores, hits, num_objects):
    """Return the average precision for every order of detections with equal scores."""
    levels = sorted(set(scores), reverse=True)
    patterns = []
    for level in levels:
        members = hits[scores == level]
        places = itertools.combinations(range(len(members)), int(members.sum()))
        patterns.append([np.isin(np.arange(len(members)), found) for found in places])
    values = []
    for choice in itertools.product(*patterns):
        ranked = np.concatenate(choice).astype(float)
        values.append(
            average_precision(*precision_recall(-np.arange(len(ranked)), ranked, num_objects))
        )
    return np.array(values)
