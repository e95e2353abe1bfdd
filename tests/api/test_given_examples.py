"""Examples in memory: what is accepted, and one clear error for what is not."""

import numpy as np
import pytest

from object_detection_mtl.api import given_examples
from object_detection_mtl.api.given_examples import ExampleError

IMAGE = np.zeros((60, 80, 3), np.uint8)
NAMES = {1: "cat", 2: "dog"}


def check(num_classes=2, class_names=NAMES, **changed):
    example = {"image": IMAGE, "boxes": [[5, 10, 50, 70]], "labels": [2], **changed}
    example = {key: value for key, value in example.items() if value is not None}
    return given_examples.check_example(example, num_classes, class_names, "example 4")


def test_a_correct_example_is_returned_as_arrays_and_lists():
    values = check(image_id=7, difficult=[True])
    assert values["image_id"] == "7"
    assert values["labels"] == [2]
    assert values["difficult"] == [True]
    np.testing.assert_array_equal(values["boxes"], [[5, 10, 50, 70]])
    assert check(image_id=b"name")["image_id"] == "name"


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4)), np.zeros(0)])
def test_an_image_may_have_no_objects(nothing):
    values = check(boxes=nothing, labels=[])
    assert values["boxes"].shape == (0, 4)
    assert values["labels"] == []


def test_a_box_may_cross_the_edge_by_rounding():
    assert len(check(boxes=[[-1.5, 0, 61, 81.5]])["boxes"]) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"boxes": None}, r"lacks \['boxes'\]"),
        ({"bbox": []}, r"has the unknown keys \['bbox'\]"),
        ({"image": IMAGE / 255.0}, "image has the dtype float64; expected uint8"),
        ({"image": IMAGE[:, :, 0]}, r"image has the shape \[60, 80\]"),
        ({"image": IMAGE[np.newaxis]}, "a batch; .* unbatch"),
        ({"boxes": [5, 10, 50, 70]}, r"boxes have the shape \[4\]"),
        ({"boxes": [["a", "b", "c", "d"]]}, "expected numbers"),
        ({"boxes": [[0.1, 0.1, 0.5, 0.9]]}, "seem to be fractions .* by 60 and 80"),
        ({"boxes": [[5, 10, np.nan, 70]]}, "not finite"),
        ({"boxes": [[50, 10, 5, 70]]}, "no positive area"),
        ({"boxes": [[10, 5, 75, 50]]}, "exceeds the image of height 60 .* x and y are swapped"),
        ({"boxes": [[5, 10, 500, 700]]}, "exceeds the image of height 60 and width 80"),
        ({"labels": [0]}, "label 0 is out of range; .* 1 to 2; .* add 1"),
        ({"labels": [3]}, "label 3 is out of range"),
        ({"labels": [1.0]}, "dtype float64; expected class numbers"),
        ({"labels": ["dog"]}, "expected class numbers"),
        ({"labels": [1, 2]}, "labels has 2 elements for 1 boxes"),
        ({"difficult": [0, 1]}, "difficult has 2 elements for 1 boxes"),
        ({"class_names": {1: "cat"}}, "label 2 has no name"),
    ],
)
def test_an_unusable_example_is_one_clear_error(changed, message):
    with pytest.raises(ExampleError, match=f"example 4.*{message}"):
        check(**changed)


def test_a_tuple_is_not_an_example():
    with pytest.raises(ExampleError, match="has the type tuple; expected a dictionary"):
        given_examples.check_example((IMAGE, []), 2, {}, "example 0")
