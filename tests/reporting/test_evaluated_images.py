import numpy as np
import pytest

from object_detection_mtl.reporting.evaluated_images import (
    DetectedObjects,
    MainBranch,
    make_detections,
    with_detections,
)
from tests.reporting.hand_made import CAT, DOG, A, evaluation_set, image


def detected(*rows):
    return DetectedObjects(make_detections(*([row[i] for row in rows] for i in range(3))))


TRUTH = evaluation_set(
    [image([(A, CAT)], [], "one", height=20, width=20, aliases=("one.jpg",)), image([], [], "two")]
)


def test_detections_join_their_image_by_id_or_alias():
    for key in ("one", "one.jpg"):
        made = with_detections(TRUTH, {key: detected((A, 0.5, DOG))}, "name")
        assert made.images[0].detections.classes.tolist() == [DOG]
        assert len(made.images[1].detections.scores) == 0
        assert (made.name, made.notes) == ("name", ())


def test_unknown_images_are_refused_or_counted():
    found = {"three": detected((A, 0.5, CAT), (A, 0.4, CAT))}
    with pytest.raises(ValueError, match="2 detections of 1 image .* three; .* one, two"):
        with_detections(TRUTH, found, "name")
    with pytest.raises(ValueError, match="all 2 detections of 1 image"):
        with_detections(TRUTH, found, "name", skip_unknown=True)
    found["one"] = detected((A, 0.5, CAT))
    made = with_detections(TRUTH, found, "name", skip_unknown=True)
    assert made.images[0].detections.scores.tolist() == [0.5]
    assert made.notes == ("Skipped 2 detections of 1 image that the ground truth lacks.",)


def test_unknown_classes_are_refused_or_counted():
    found = {"one": detected((A, 0.5, 7), (A, 0.4, CAT))}
    with pytest.raises(ValueError, match="image 'one': class 7 is not one of the 2 classes"):
        with_detections(TRUTH, found, "name")
    made = with_detections(TRUTH, found, "name", skip_unknown=True)
    assert made.images[0].detections.scores.tolist() == [0.4]
    assert made.notes == ("Skipped 1 detection of classes that the ground truth lacks.",)


def test_an_unknown_class_is_dropped_from_the_main_branch_too():
    branch = MainBranch(np.array([CAT, DOG]), np.array([0.1, 0.2]))
    found = DetectedObjects(detected((A, 0.5, 7), (A, 0.4, CAT)).detections, branch)
    made = with_detections(TRUTH, {"one": found}, "name", skip_unknown=True)
    assert made.images[0].main_branch.scores.tolist() == [0.2]


def test_two_entries_of_one_image_are_refused():
    found = {"one": detected((A, 0.5, CAT)), "one.jpg": detected((A, 0.5, CAT))}
    with pytest.raises(ValueError, match="two entries belong to image 'one'"):
        with_detections(TRUTH, found, "name")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e200])
def test_scores_and_boxes_must_be_finite(value):
    if not np.isfinite(value):
        with pytest.raises(ValueError, match="image 'one', detection 0: the score is"):
            with_detections(TRUTH, {"one": detected((A, value, CAT))}, "name")
    with pytest.raises(ValueError, match="image 'one', detection 0: the box is"):
        with_detections(TRUTH, {"one": detected(([0, 0, value, 1], 0.5, CAT))}, "name")


def test_unusual_boxes_and_scores_are_noted():
    found = {"one": detected(([5, 5, 5, 9], 0.5, CAT), ([0, 0, 30, 10], 1.5, CAT))}
    notes = with_detections(TRUTH, found, "name").notes
    assert notes == (
        "1 detection has an empty box; only COCO metrics count it.",
        "The boxes of 1 detection of 2 extend outside of their image; they are not clipped.",
        "The scores of 1 detection are below 0 or above 1; curves over the score, thresholds and "
        "calibration expect 0 to 1.",
    )


def test_fractions_of_the_image_are_refused():
    with pytest.raises(ValueError, match="name: all 1 boxes lie in 0..1"):
        with_detections(TRUTH, {"one": detected(([0.1, 0, 0.5, 1], 0.5, CAT))}, "", source="name")
    # One box of pixels among them, and boxes of whole numbers.
    for box in (A, [0, 0, 1, 1]):
        found = {"one": detected((box, 0.5, CAT), ([0, 0, 1, 1], 0.5, CAT))}
        assert with_detections(TRUTH, found, "name").notes == ()
