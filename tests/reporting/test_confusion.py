import pytest

from object_detection_mtl.reporting.confusion import confusion_matrix, most_confused
from object_detection_mtl.reporting.object_matching import match_images
from tests.reporting.hand_made import CAT, DOG, FAR, LOOSE_A, NEAR_A, A, B, image, random_set


def matrix(*images, min_score=0.5):
    return confusion_matrix(images, match_images(images), [CAT, DOG], min_score)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(A, 0.9, CAT)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ([(A, 0.9, DOG)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        ([(FAR, 0.9, DOG)], [[0, 0, 1], [0, 0, 0], [0, 1, 0]]),
        ([(LOOSE_A, 0.9, CAT)], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
        ([(A, 0.4, CAT)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        ([], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        # The own class wins though the other box fits better and has the greater score.
        ([(NEAR_A, 0.6, CAT), (A, 0.9, DOG)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
        # Of two wrong names the better box counts, the other one is background.
        ([(NEAR_A, 0.9, DOG), (A, 0.6, DOG)], [[0, 1, 0], [0, 0, 0], [0, 1, 0]]),
    ],
)
def test_one_cat(found, expected):
    assert matrix(image([(A, CAT)], found)).counts.tolist() == expected


def test_ignored_objects_and_their_detections_do_not_count():
    made = matrix(image([(A, CAT)], [(A, 0.9, CAT)], difficult=[True]))
    assert made.counts.sum() == 0


def test_rows_sum_to_objects_and_columns_to_detections():
    chosen = random_set(3)
    ids = [category.id for category in chosen.categories]
    table = match_images(chosen.images)
    made = confusion_matrix(chosen.images, table, ids, 0.3)
    for position, class_id in enumerate(ids):
        objects = table.counted & (table.object_classes == class_id)
        detections = (table.classes == class_id) & (table.scores >= 0.3) & ~table.ignored
        assert made.counts[position].sum() == objects.sum()
        assert made.counts[:, position].sum() == detections.sum()
        assert made.counts[position, position] == (table.hits & detections).sum()


def test_the_most_confused_classes_first():
    made = matrix(
        image([(A, CAT), (B, DOG)], [(A, 0.9, DOG), (B, 0.9, CAT)]),
        image([(A, CAT)], [(A, 0.9, DOG)]),
    )
    assert most_confused(made) == [(CAT, DOG, 2), (DOG, CAT, 1)]
