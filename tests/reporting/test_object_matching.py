import numpy as np
import pytest

from object_detection_mtl.evaluation.error_analysis import KINDS
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.reporting.object_matching import IGNORED, NOTHING, match_images
from object_detection_mtl.reporting.score_curves import class_curve
from tests.reporting.hand_made import (
    CAT,
    DOG,
    FAR,
    LOOSE_A,
    NEAR_A,
    A,
    B,
    feed,
    image,
    random_set,
)


def test_flat_arrays_of_two_images():
    table = match_images(
        [
            image([(A, CAT), (B, DOG)], [(FAR, 0.4, CAT), (NEAR_A, 0.9, CAT), (A, 0.3, CAT)]),
            image([], []),
            image([(B, DOG)], [(B, 0.8, DOG)]),
        ]
    )
    assert table.image.tolist() == [0, 0, 0, 2]
    assert table.row.tolist() == [0, 1, 2, 0]
    names = [KINDS[kind] for kind in table.kinds]
    assert names == ["Background", "TruePositive", "Redundancy", "TruePositive"]
    assert table.matched.tolist() == [NOTHING, 0, NOTHING, 2]
    assert table.found_by.tolist() == [1, NOTHING, 3]
    assert table.object_image.tolist() == [0, 0, 2]
    assert table.found_scores().tolist() == [0.9, -np.inf, 0.8]
    assert table.object_areas.tolist() == [100, 100, 100]


def test_a_stricter_threshold_refuses_a_loose_box():
    images = [image([(A, CAT)], [(NEAR_A, 0.9, CAT)])]  # IoU 0.82
    assert match_images(images, 0.75).hits.tolist() == [True]
    assert match_images(images, 0.9).hits.tolist() == [False]


def test_difficult_objects_and_empty_boxes_count_neither_way():
    table = match_images(
        [image([(A, CAT)], [(A, 0.9, CAT), ([5, 5, 5, 9], 0.8, CAT)], difficult=[True])]
    )
    assert table.kinds.tolist() == [IGNORED, IGNORED]
    assert table.counted.tolist() == [False]


def test_without_images():
    table = match_images([])
    assert len(table.scores) == len(table.object_areas) == 0
    assert table.boxes.shape == (0, 4)


def test_an_annotated_area_replaces_that_of_the_box():
    assert match_images([image([(A, CAT)], [], area=[42.0])]).object_areas.tolist() == [42]


@pytest.mark.parametrize("threshold", [0.5, 0.75])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_the_voc_evaluators(seed, threshold):
    chosen = random_set(seed)
    evaluator = feed(PascalVocEvaluator(chosen.categories, threshold), chosen.images)
    table = match_images(chosen.images, threshold)
    expected = evaluator.evaluate()
    for category in chosen.categories:
        key = f"PascalBoxes_PerformanceByCategory/AP@{threshold}IOU/{category.name}"
        curve = class_curve(table, category.id)
        assert curve.average_precision == pytest.approx(expected[key], abs=1e-12)
        reference = evaluator.curves()[category.id]
        np.testing.assert_allclose(curve.precision, reference.precision)
        np.testing.assert_allclose(curve.recall, reference.recall)


def test_a_localization_error_has_no_match():
    table = match_images([image([(A, CAT)], [(LOOSE_A, 0.9, CAT)])])
    assert KINDS[table.kinds[0]] == "Localisation"
    assert table.matched.tolist() == [NOTHING]
