import numpy as np
import pytest

from object_detection_mtl.reporting.evaluated_images import MainBranch
from object_detection_mtl.reporting.refinement_changes import refinement_changes
from tests.reporting.hand_made import CAT, DOG, FAR, A, image


def changes(found, main_classes, main_scores):
    branch = MainBranch(np.array(main_classes), np.array(main_scores))
    return refinement_changes([image([(A, CAT)], found, main_branch=branch)])


@pytest.mark.parametrize(
    ("refined", "main", "outcome"),
    [
        ((A, 0.8, CAT), (DOG, 0.7), "repaired"),
        ((A, 0.8, DOG), (CAT, 0.7), "broken"),
        ((A, 0.8, CAT), (CAT, 0.6), None),
        ((A, 0.8, DOG), (DOG, 0.6), None),
        ((A, 0.6, CAT), (CAT, 0.4), "repaired"),
        ((FAR, 0.1, CAT), (CAT, 0.9), "repaired"),  # A false positive is suppressed.
        ((FAR, 0.9, CAT), (CAT, 0.1), "broken"),
    ],
)
def test_one_detection(refined, main, outcome):
    made = changes([refined], [main[0]], [main[1]])
    assert len(made.repaired) == (outcome == "repaired")
    assert len(made.broken) == (outcome == "broken")
    assert made.num_detections == 1
    assert made.outcomes.tolist() == [{"repaired": 1, "broken": -1, None: 0}[outcome]]
    assert made.main_scores.tolist() == [main[1]]
    assert made.refined_scores.tolist() == [refined[1]]


def test_the_greatest_change_comes_first():
    made = changes([(A, 0.6, CAT), (A, 0.9, CAT)], [CAT, CAT], [0.4, 0.1])
    assert [item.row for item in made.repaired] == [1, 0]


def test_no_changes_without_main_scores():
    assert refinement_changes([image([(A, CAT)], [(A, 0.9, CAT)])]) is None
