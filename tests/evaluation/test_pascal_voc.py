import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.evaluation.evaluator import ImageGroundtruth
from object_detection_mtl.evaluation.pascal_voc import (
    PascalVocEvaluator,
    average_precision,
    judge,
    precision_recall,
    suppress,
)
from object_detection_mtl.inference.image_detections import ImageDetections
from tests.evaluation.sets import categories

NAN = float("nan")


CATS = categories("cat", "dog")


MEAN = "PascalBoxes_Precision/mAP@0.5IOU"


AP = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/"


# Three boxes far apart, and one that overlaps A by 9/11 (IoU .818).
A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [50, 0, 60, 10]


NEAR_A = [0, 1, 10, 11]


def evaluate(images, **kwargs):
    """images: [(groundtruth boxes, classes, extras, detection boxes, scores, classes)]."""
    evaluator = PascalVocEvaluator(CATS, **kwargs)
    for i, (boxes, classes, extras, found, scores, labels) in enumerate(images):
        evaluator.add_groundtruth(i, boxes, classes, **extras)
        evaluator.add_detections(i, found, scores, labels)
    return evaluator.evaluate()


def test_precision_and_recall_of_a_hand_worked_ranking():
    scores = np.array([0.4, 0.3, 0.6, 0.2, 0.7, 0.1])
    hits = np.array([0, 1, 1, 0, 0, 1.0])
    precision, recall = precision_recall(scores, hits, 10)
    np.testing.assert_allclose(precision, [0, 0.5, 1 / 3, 0.5, 0.4, 0.5])
    np.testing.assert_allclose(recall, [0, 0.1, 0.1, 0.2, 0.2, 0.3])


def test_average_precision_is_the_area_under_the_envelope():
    precision = np.array([0.8, 0.76, 0.9, 0.65, 0.7, 0.5, 0.55, 0])
    recall = np.array([0.3, 0.3, 0.4, 0.4, 0.45, 0.45, 0.5, 0.5])
    # .4 of recall at .9, then .05 at .7 and .05 at .55.
    assert average_precision(precision, recall) == pytest.approx(0.4225)


def test_average_precision_without_detections_is_zero():
    assert average_precision(np.zeros(0), np.zeros(0)) == 0


def test_perfect_detections():
    metrics = evaluate([([A, B], [1, 2], {}, [A, B], [0.9, 0.8], [1, 2])])
    assert metrics == {MEAN: 1.0, AP + "cat": 1.0, AP + "dog": 1.0}


def test_a_second_detection_of_an_object_is_a_false_positive():
    # Ranking: hit, miss (duplicate), hit of 2 objects: 1/2 * 1 + 1/2 * 2/3.
    metrics = evaluate([([A, B], [1, 1], {}, [A, NEAR_A, B], [0.9, 0.8, 0.7], [1, 1, 1])])
    assert metrics[AP + "cat"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_the_higher_score_is_the_true_positive_even_with_less_overlap():
    metrics = evaluate([([A], [1], {}, [A, NEAR_A], [0.7, 0.9], [1, 1])])
    assert metrics[AP + "cat"] == 1.0


def test_a_detection_is_matched_to_its_best_object_only():
    """Both detections overlap A most; the second one is no hit although B' would fit it too."""
    near = [0, 2, 10, 12]
    metrics = evaluate([([A, near], [1, 1], {}, [A, [0, 0.5, 10, 10.5]], [0.9, 0.8], [1, 1])])
    assert metrics[AP + "cat"] == pytest.approx(0.5)


def test_a_matching_box_of_another_class_is_a_false_positive():
    metrics = evaluate([([A], [1], {}, [A], [0.9], [2])])
    np.testing.assert_equal(metrics, {MEAN: 0.0, AP + "cat": 0.0, AP + "dog": NAN})


def test_absent_class_is_nan_and_ignored_in_the_mean():
    metrics = evaluate([([A], [1], {}, [A], [0.9], [1])])
    np.testing.assert_equal(metrics, {MEAN: 1.0, AP + "cat": 1.0, AP + "dog": NAN})


def test_nothing_at_all():
    np.testing.assert_equal(evaluate([]), {MEAN: NAN, AP + "cat": NAN, AP + "dog": NAN})
    metrics = evaluate([([], [], {}, [A], [0.9], [1])])
    np.testing.assert_equal(metrics, {MEAN: NAN, AP + "cat": NAN, AP + "dog": NAN})
    metrics = evaluate([([A, B], [1, 2], {}, [], [], [])])
    assert metrics == {MEAN: 0.0, AP + "cat": 0.0, AP + "dog": 0.0}


def test_an_image_without_detections_still_has_objects_to_find():
    evaluator = PascalVocEvaluator(CATS)
    evaluator.add_groundtruth(1, [A], [1])
    evaluator.add_detections(1, [A], [0.9], [1])
    evaluator.add_groundtruth(2, [A], [1])
    assert evaluator.evaluate()[AP + "cat"] == pytest.approx(0.5)


def test_difficult_objects_and_their_detections_are_ignored():
    image = ([A, B], [1, 1], {"difficult": [True, False]}, [A, NEAR_A, B], [0.9, 0.8, 0.7], [1] * 3)
    assert evaluate([image])[AP + "cat"] == 1.0
    # As ordinary objects: hit, duplicate, hit.
    assert evaluate([image], use_difficult=False)[AP + "cat"] == pytest.approx(
        1 / 2 + 1 / 2 * 2 / 3
    )


def test_a_class_with_only_difficult_objects_is_nan():
    metrics = evaluate([([A], [1], {"difficult": [True]}, [A], [0.9], [1])])
    assert np.isnan(metrics[AP + "cat"])
    assert np.isnan(metrics[MEAN])


GROUP = [0, 0, 100, 100]


def test_a_group_counts_as_an_object_in_pascal():
    image = ([GROUP], [1], {"group_of": [True]}, [[0, 0, 80, 80]], [0.9], [1])
    assert evaluate([image])[AP + "cat"] == 1.0


def test_open_images_ignores_detections_inside_a_group_of_their_class():
    truth = ([GROUP, [200, 0, 210, 10]], [1, 1], {"group_of": [True, False]})
    inside = [[0, 0, 9, 9], [10, 10, 30, 30], [200, 0, 210, 10]]
    found = (inside, [0.9, 0.8, 0.7], [1, 1, 1])
    assert evaluate([(*truth, *found)], group_of_weight=0.0)[AP + "cat"] == 1.0
    # Detections of another class are false positives.
    found = (inside, [0.9, 0.8, 0.7], [2, 2, 1])
    metrics = evaluate([(*truth, *found)], group_of_weight=0.0)
    assert metrics[AP + "cat"] == 1.0
    assert np.isnan(metrics[AP + "dog"])


def test_an_object_inside_a_group_is_matched_before_the_group():
    truth = ([GROUP, A], [1, 1], {"group_of": [True, False]})
    metrics = evaluate([(*truth, [A, NEAR_A], [0.9, 0.8], [1, 1])], group_of_weight=0.0)
    assert metrics[AP + "cat"] == 1.0
    missing = evaluate([(*truth, [[50, 50, 60, 60]], [0.9], [1])], group_of_weight=0.0)
    assert missing[AP + "cat"] == 0.0


def test_a_weighted_group_is_found_once_by_its_best_detection():
    truth = ([GROUP, [200, 0, 210, 10]], [1, 1], {"group_of": [True, False]})
    found = ([[0, 0, 9, 9], [10, 10, 30, 30], [300, 0, 310, 10]], [0.9, 0.8, 0.7], [1, 1, 1])
    # One hit of weight .5 (precision 1), then a miss; 1.5 objects in all.
    metrics = evaluate([(*truth, *found)], group_of_weight=0.5)
    assert metrics[AP + "cat"] == pytest.approx(0.5 / 1.5)


def test_a_detection_outside_the_group_is_a_false_positive():
    truth = ([GROUP, [200, 0, 210, 10]], [1, 1], {"group_of": [True, False]})
    # A third of the first detection lies in the group: less than half.
    found = ([[90, 0, 120, 10], [200, 0, 210, 10]], [0.9, 0.8], [1, 1])
    assert evaluate([(*truth, *found)], group_of_weight=0.0)[AP + "cat"] == pytest.approx(0.5)


def test_empty_detections_are_dropped():
    """Inverted and empty boxes come before the hit, and cost nothing."""
    image = ([A], [1], {}, [[5, 5, 5, 9], [9, 9, 3, 3], A], [0.9, 0.8, 0.7], [1] * 3)
    assert evaluate([image])[AP + "cat"] == 1.0


def test_equal_scores_keep_their_order():
    hit_first = ([A], [1], {}, [A, C], [0.5, 0.5], [1, 1])
    miss_first = ([A], [1], {}, [C, A], [0.5, 0.5], [1, 1])
    assert evaluate([hit_first])[AP + "cat"] == 1.0
    assert evaluate([miss_first])[AP + "cat"] == 0.5


def test_threshold_is_inclusive():
    image = ([A], [1], {}, [[0, 0, 10, 5]], [0.9], [1])  # IoU exactly one half
    assert evaluate([image])[AP + "cat"] == 1.0
    assert evaluate([image], matching_iou_threshold=0.51)[MEAN.replace("0.5", "0.51")] == 0.0


def test_suppression_works_within_a_class():
    boxes = np.array([A, NEAR_A, A, C], np.float32)
    detections = ImageDetections(boxes, np.array([0.5, 0.9, 0.4, 0.3]), np.array([1, 1, 2, 1]))
    kept = suppress(detections, 0.5)
    np.testing.assert_array_equal(kept.scores, [0.9, 0.4, 0.3])
    np.testing.assert_array_equal(kept.classes, [1, 2, 1])
    # IoU is 9/11: a threshold above keeps all.
    assert len(suppress(detections, 0.82).scores) == 4


def test_suppression_chains_do_not_suppress():
    """The middle box goes; the third one overlaps only it, and stays."""
    row = [[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]]
    kept = suppress(ImageDetections(np.array(row), np.array([0.9, 0.8, 0.7]), np.ones(3, int)), 0.4)
    np.testing.assert_array_equal(kept.scores, [0.9, 0.7])


def test_corloc_uses_the_best_detection_of_an_image():
    images = [
        ([A], [1], {"difficult": [True]}, [A, C], [0.9, 0.5], [1, 1]),  # right; difficult counts
        ([A], [1], {}, [A, C], [0.5, 0.9], [1, 1]),  # the best one is wrong
        ([A, B], [1, 2], {}, [B], [0.9], [2]),  # no cat found, the dog is
        ([], [], {}, [A], [0.9], [1]),  # no cat to find
    ]
    metrics = evaluate(images, prefix="", evaluate_corloc=True)
    assert metrics["PerformanceByCategory/CorLoc@0.5IOU/cat"] == pytest.approx(1 / 3)
    assert metrics["PerformanceByCategory/CorLoc@0.5IOU/dog"] == 1.0
    assert metrics["Precision/meanCorLoc@0.5IOU"] == pytest.approx(2 / 3)


def test_weighted_mean_ranks_all_classes_together():
    # cat: 1 object, hit; dog: 2 objects, hit and miss before it.
    image = ([A, B, C], [1, 2, 2], {}, [A, A, B], [0.9, 0.8, 0.7], [1, 2, 2])
    metrics = evaluate([image], prefix="WeightedPascalBoxes", weighted=True)
    # All: hit, miss, hit of 3 objects.
    assert metrics["WeightedPascalBoxes_Precision/mAP@0.5IOU"] == pytest.approx(1 / 3 + 2 / 9)
    assert metrics["WeightedPascalBoxes_PerformanceByCategory/AP@0.5IOU/dog"] == pytest.approx(0.25)


def test_recall_bounds_name_the_metric_and_limit_the_curve():
    # Hit, miss, hit, miss, of 2 objects: precision 1, 1/2, 2/3, 1/2 at recall .5, .5, 1, 1.
    image = ([A, B], [1, 1], {}, [A, C, B, C], [0.9, 0.8, 0.7, 0.6], [1] * 4)
    whole = evaluate([image])[AP + "cat"]
    assert whole == pytest.approx(0.5 + 0.5 * 2 / 3)
    metrics = evaluate([image], prefix="PrecisionAtRecallBoxes", recall_bounds=(0.0, 0.5))
    assert metrics["PrecisionAtRecallBoxes_Precision/mAP@0.5IOU@[0.0,0.5]Recall"] == 0.5
    assert metrics["PrecisionAtRecallBoxes_PerformanceByCategory/AP@0.5IOU/cat"] == 0.5
    metrics = evaluate([image], prefix="P", recall_bounds=(0.6, 1.0))
    assert metrics["P_Precision/mAP@0.5IOU@[0.6,1.0]Recall"] == pytest.approx(2 / 3)


def test_a_threshold_that_passed_through_float32_keeps_its_name():
    assert "PascalBoxes_Precision/mAP@0.3IOU" in evaluate(
        [], matching_iou_threshold=np.float32(0.3)
    )


def test_curves_of_classes_with_objects():
    evaluator = PascalVocEvaluator(CATS)
    evaluator.add_groundtruth(1, [A, B], [1, 1])
    evaluator.add_detections(1, [A, C, B], [0.9, 0.8, 0.7], [1, 1, 1])
    curves = evaluator.curves()
    assert set(curves) == {1}
    np.testing.assert_allclose(curves[1].precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(curves[1].recall, [1 / 2, 1 / 2, 1])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"matching_iou_threshold": 0},
        {"matching_iou_threshold": 1.1},
        {"nms_iou_threshold": -0.1},
        {"recall_bounds": (0.5, 0.5)},
        {"recall_bounds": (0, 1.5)},
    ],
)
def test_impossible_settings(kwargs):
    with pytest.raises(ValueError, match="must be"):
        PascalVocEvaluator(CATS, **kwargs)


# ------------------------------------------------------------------------------------ properties

boxes_of_one_size = st.integers(0, 12).map(lambda x: [0.0, float(x), 10.0, float(x) + 8])


objects = st.lists(st.tuples(boxes_of_one_size, st.integers(1, 2), st.booleans()), max_size=5)


found = st.lists(st.tuples(boxes_of_one_size, st.integers(1, 2), st.floats(0, 1)), max_size=8)


def judge_one_by_one(groundtruth, detections, threshold):
    """Judge detections one by one, by the rules of the module."""
    outcome, taken = [], set()
    for d in np.argsort(-detections.scores, kind="stable"):
        best, best_overlap = -1, -1.0
        for g in np.flatnonzero(groundtruth.classes == detections.classes[d]):
            a, b = detections.boxes[d], groundtruth.boxes[g]
            width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            overlap = 10 * width / (160 - 10 * width)
            if overlap > best_overlap:
                best, best_overlap = g, overlap
        if best >= 0 and best_overlap >= threshold:
            if groundtruth.difficult[best]:
                continue
            outcome.append((detections.scores[d], float(best not in taken)))
            taken.add(best)
        else:
            outcome.append((detections.scores[d], 0.0))
    return outcome


@settings(max_examples=150, deadline=None)
@given(objects, found, st.sampled_from([0.3, 0.5, 0.75]))
def test_judging_all_at_once_equals_one_by_one(objects, found, threshold):
    no = np.zeros(len(objects), bool)
    groundtruth = ImageGroundtruth(
        np.array([o[0] for o in objects]).reshape(-1, 4),
        np.array([o[1] for o in objects], int),
        np.array([o[2] for o in objects], bool),
        no,
        no,
        np.zeros(len(objects)),
    )
    detections = ImageDetections(
        np.array([f[0] for f in found]).reshape(-1, 4),
        np.array([f[2] for f in found], float),
        np.array([f[1] for f in found], int),
    )
    judged = judge(groundtruth, detections, iou_threshold=threshold)
    expected = judge_one_by_one(groundtruth, detections, threshold)
    assert list(zip(judged.scores, judged.hits, strict=True)) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 5))
def test_average_precision_is_a_fraction_and_grows_with_a_better_order(hits, missed):
    hits = np.array(hits, float)
    total = hits.sum() + missed
    if total == 0:
        return
    value = average_precision(*precision_recall(-np.arange(len(hits)), hits, total))
    best = average_precision(*precision_recall(-np.arange(len(hits)), np.sort(hits)[::-1], total))
    assert 0 <= value <= best + 1e-12
    assert best == pytest.approx(hits.sum() / total)
