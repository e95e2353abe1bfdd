import numpy as np
import pytest

from object_detection_mtl.reporting.object_matching import match_images
from object_detection_mtl.reporting.score_curves import (
    at_thresholds,
    best_f1,
    calibration,
    class_curve,
    counts_at_thresholds,
    make_curve,
    precision_at_recalls,
)
from tests.reporting.hand_made import CAT, FAR, A, B, image


def curve(hits, num_objects, scores=None):
    scores = np.arange(len(hits), 0, -1) / 10 if scores is None else np.array(scores)
    return make_curve(scores, np.array(hits, bool), num_objects)


def test_precision_and_recall_after_each_detection():
    made = curve([1, 0, 1], 4)
    assert made.precision.tolist() == [1, 1 / 2, 2 / 3]
    assert made.recall.tolist() == [1 / 4, 1 / 4, 2 / 4]
    # 1/4 at precision 1, another 1/4 at precision 2/3.
    assert made.average_precision == pytest.approx(1 / 4 + 1 / 6)


def test_a_class_without_objects_has_an_empty_curve():
    made = curve([0, 0], 0)
    assert np.isnan(made.average_precision)
    assert np.isnan(best_f1(made).threshold)


def test_the_best_threshold_maximizes_f1():
    # F1 after each: 2/5, 2/6, 4/7 (P 2/3, R 2/4), 4/8.
    best = best_f1(curve([1, 0, 1, 0], 4))
    assert best.f1 == pytest.approx(4 / 7)
    assert best.threshold == pytest.approx(0.2)
    assert (best.precision, best.recall) == (pytest.approx(2 / 3), 0.5)


def test_a_threshold_keeps_all_detections_of_one_score():
    # After the first detection F1 would be 1, but the second has the same score.
    best = best_f1(curve([1, 0], 1, scores=[0.5, 0.5]))
    assert best.f1 == pytest.approx(2 / 3)
    assert best.precision == 0.5


def test_precision_recall_and_f1_at_thresholds():
    made = curve([1, 0, 1], 4)  # scores 0.3, 0.2, 0.1
    precision, recall, f1 = at_thresholds(made, np.array([0.0, 0.2, 0.25, 0.5]))
    assert precision[:3].tolist() == [2 / 3, 1 / 2, 1]
    assert np.isnan(precision[3])
    assert recall.tolist() == [0.5, 0.25, 0.25, 0]
    assert f1.tolist() == pytest.approx([4 / 7, 1 / 3, 2 / 5, 0])


def test_calibration_of_three_detections():
    table = match_images([image([(A, CAT), (B, CAT)], [(A, 0.9, CAT), (FAR, 0.84, CAT)])])
    made = calibration(table)
    # Bin (0.8, 0.9]: two detections with a mean score of 0.87, half of them right.
    assert made.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    assert made.mean_scores[8] == pytest.approx(0.87)
    assert made.precision[8] == 0.5
    assert made.error == pytest.approx(0.37)


@pytest.mark.parametrize(("score", "bin_index"), [(0.0, 0), (0.1, 0), (0.3, 2), (0.31, 3), (1, 9)])
def test_a_bin_includes_its_upper_edge(score, bin_index):
    made = calibration(match_images([image([(A, CAT)], [(A, score, CAT)])]))
    assert np.flatnonzero(made.counts).tolist() == [bin_index]


def test_calibration_without_detections():
    assert np.isnan(calibration(match_images([image([(A, CAT)], [])])).error)


def test_the_curve_of_a_class_ignores_other_classes():
    table = match_images([image([(A, CAT), (B, 2)], [(A, 0.9, CAT), (B, 0.8, 2)])])
    made = class_curve(table, CAT)
    assert (made.num_objects, made.scores.tolist(), made.average_precision) == (1, [0.9], 1.0)


def test_counts_at_thresholds():
    made = curve([1, 0, 1], 4)  # scores 0.3, 0.2, 0.1
    hits, wrong, missed = counts_at_thresholds(made, np.array([0.0, 0.2, 0.25, 0.5]))
    assert hits.tolist() == [2, 1, 1, 0]
    assert wrong.tolist() == [1, 1, 0, 0]
    assert missed.tolist() == [2, 3, 3, 4]


def test_precision_between_the_points_of_a_curve():
    recalls = np.array([0, 0.25, 0.3, 0.5, 0.6])
    found = precision_at_recalls(curve([1, 0, 1], 4), recalls)
    np.testing.assert_allclose(found, [1, 1, 2 / 3, 2 / 3, 0])
