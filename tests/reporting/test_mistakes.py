import numpy as np
import pytest

from object_detection_mtl.evaluation.error_analysis import KINDS, ErrorAnalysis
from object_detection_mtl.reporting.mistakes import (
    confident_mistakes,
    count_kinds,
    describe_kinds,
    image_losses,
    kinds_of_image,
    missed_objects,
)
from object_detection_mtl.reporting.object_matching import match_images
from tests.reporting.hand_made import CAT, DOG, FAR, A, B, feed, image, random_set


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.55, 0.9])
def test_counts_equal_the_error_analysis(threshold):
    chosen = random_set(7)
    analysis = feed(ErrorAnalysis(chosen.categories, min_score=threshold), chosen.images)
    ids = [category.id for category in chosen.categories]
    counts = count_kinds(match_images(chosen.images), ids, [threshold])[0]
    expected = analysis.counts()
    for row, class_id in zip(counts, ids, strict=True):
        assert dict(zip(KINDS, row.tolist(), strict=True)) == expected[class_id]


def test_the_most_confident_mistakes_come_first():
    found = [(FAR, 0.3, CAT), (A, 0.9, DOG), (FAR, 0.7, DOG), (A, 0.8, CAT)]
    made = confident_mistakes(match_images([image([(A, CAT)], found)]), limit=1)
    assert [(m.score, m.class_id) for m in made["Background"]] == [(0.7, DOG)]
    assert [(m.score, m.class_id) for m in made["Classification"]] == [(0.9, DOG)]
    assert made["Redundancy"] == made["Localisation"] == []


def test_missed_objects_by_size():
    truth = [(A, CAT), (B, DOG), ([0, 0, 200, 200], DOG)]
    made = missed_objects(match_images([image(truth, [(A, 0.9, CAT), (B, 0.4, DOG)])]))
    assert {label: count for label, (count, _) in made.items()} == {
        "small": 1,
        "medium": 0,
        "large": 1,
    }
    assert made["small"][1][0].class_id == DOG
    assert made["large"][1][0].box.tolist() == [0, 0, 200, 200]


def test_the_loss_of_an_image_is_wrong_scores_and_missed_objects():
    images = [
        image([(A, CAT)], [(A, 0.9, CAT), (FAR, 0.6, CAT), (FAR, 0.4, CAT)]),
        image([(A, CAT), (B, CAT)], [(A, 0.3, CAT)]),
        image([], []),
    ]
    table = match_images(images)
    assert image_losses(table, 3).tolist() == [0.6, 2.0, 0.0]
    assert kinds_of_image(table, 0) == {"TruePositive": 1, "Background": 1}
    assert kinds_of_image(table, 1) == {"FalseNegative": 2}


def test_without_mistakes():
    table = match_images([image([(A, CAT)], [(A, 0.9, CAT)])])
    assert np.all(image_losses(table, 1) == 0)
    assert all(not rows for rows in confident_mistakes(table).values())


def test_counts_of_kinds_as_words():
    counts = {"TruePositive": 1, "Classification": 2, "FalseNegative": 1}
    assert describe_kinds(counts) == [
        "1 true positive",
        "2 classification errors",
        "1 missed object",
    ]
