"""AutoAugment policies: every operation by hand-worked pixels and boxes."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import augmentation_builder
from object_detection_mtl.data import augmentation_policies
from object_detection_mtl.data.augmentation_policies import make_operation
from object_detection_mtl.data.policy_rows import POLICIES
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.protos import preprocessor_pb2
from tests.data.augmented import (
    HEIGHT,
    WIDTH,
    assert_objects_fit,
    assert_same_eagerly_and_in_a_graph,
    example,
    in_a_graph,
)

NAMES = sorted({name for rows in POLICIES.values() for row in rows for name, _, _ in row})
SEEDS = [tf.constant([3, number]) for number in range(8)]


def outcomes(name, level, boxes=None, probability=1.0, seeds=SEEDS):
    """Return the image before, and image and boxes of an operation for several seeds."""
    before = example() if boxes is None else example(np.float32(boxes))
    operation = make_operation(name, probability, level)
    results = [operation(before["image"], before[Groundtruth.boxes], seed) for seed in seeds]
    return before["image"].numpy(), [(image.numpy(), found.numpy()) for image, found in results]


@pytest.mark.slow
def test_objects_stay_together():
    for result in in_a_graph(augmentation_policies.autoaugment_image("v0"), 8):
        assert_objects_fit(result)
        assert result["image"].shape == (HEIGHT, WIDTH, 3)
        assert result["image"].dtype == tf.uint8
        boxes = result[Groundtruth.boxes].numpy()
        assert boxes.min() >= 0
        assert boxes.max() <= 1
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_seed_decides():
    assert_same_eagerly_and_in_a_graph(augmentation_policies.autoaugment_image("test"))


def test_the_operations_of_all_policies_are_there():
    for rows in POLICIES.values():
        for name, probability, level in (entry for row in rows for entry in row):
            assert 0 <= probability <= 1
            make_operation(name, probability, level)


@pytest.mark.parametrize("name", NAMES)
def test_no_object(name):
    _, results = outcomes(name, 10, boxes=np.zeros([0, 4]), seeds=SEEDS[:1])
    assert results[0][1].shape == (0, 4)


def test_probability_zero_changes_nothing():
    for name in NAMES:
        before, results = outcomes(name, 10, probability=0.0, seeds=SEEDS[:1])
        assert (results[0][0] == before).all(), name


def test_translation_moves_pixels_and_boxes():
    # Level 1 of 10 of 250 pixels: 25 to the left or to the right.
    before, results = outcomes("TranslateX_BBox", 1, boxes=[[0.3, 0.5, 0.6, 0.75]])
    seen = set()
    for image, boxes in results:
        if (image[:, :25] == 128).all():
            np.testing.assert_array_equal(image[:, 25:], before[:, :-25])
            np.testing.assert_allclose(boxes, [[0.3, 85 / 120, 0.6, 115 / 120]], atol=1e-6)
            seen.add("right")
        else:
            np.testing.assert_array_equal(image[:, :-25], before[:, 25:])
            np.testing.assert_allclose(boxes, [[0.3, 35 / 120, 0.6, 65 / 120]], atol=1e-6)
            seen.add("left")
    assert seen == {"left", "right"}


def test_rotation_encloses_the_turned_box():
    # 30 degrees around the center, of a square of 20 pixels there: 20 (sin 30 + cos 30) = 27.3.
    boxes = [[0.4, 50 / 120, 0.6, 70 / 120]]
    _, results = outcomes("Rotate_BBox", 10, boxes=boxes)
    for _, found in results:
        height, width = (found[0, 2:] - found[0, :2]) * [HEIGHT, WIDTH]
        assert abs(height - 27.3) <= 2
        assert abs(width - 27.3) <= 2


def test_shear_moves_each_row_by_its_height():
    # Level 10: x + 0.3 y or x - 0.3 y.
    boxes = [[0.2, 0.25, 0.5, 0.75]]
    before, results = outcomes("ShearX_BBox", 10, boxes=boxes)
    for image, found in results:
        to_the_right = found[0, 3] > 0.75
        left, right = (30 + 0.3 * 20, 90 + 0.3 * 50) if to_the_right else (30 - 15, 90 - 6)
        np.testing.assert_allclose(found, [[0.2, left / 120, 0.5, right / 120]], atol=1e-6)
        moved = image[50, 60, 1] - 60.0
        assert abs(moved - (-15 if to_the_right else 15)) <= 1
        assert (image[90, :20] == 128).all() == to_the_right


def test_an_object_that_leaves_the_image_is_removed():
    boxes = [[0.1, 0.0, 0.3, 0.1], [0.1, 0.45, 0.3, 0.55]]
    augmentation = augmentation_policies.autoaugment_image("test")  # 100 pixels left or right
    for seed in SEEDS:
        result = augmentation(example(np.float32(boxes)), seed)
        to_the_left = 1 not in result[Groundtruth.classes].numpy()
        expected = [] if to_the_left else [[0.1, 100 / 120, 0.3, 112 / 120]]
        np.testing.assert_allclose(
            result[Groundtruth.boxes], np.reshape(expected, [-1, 4]), atol=1e-6
        )


def test_flip_inside_of_a_box():
    # The pixels of a box are those from its top left corner to its bottom right one, included.
    boxes = [[0.2, 0.25, 0.5, 0.5]]
    operation = augmentation_policies.inside_of_boxes(
        lambda image, seed: tf.reverse(image, axis=[1]), 1.0
    )
    before = example(np.float32(boxes))
    image, found = operation(before["image"], before[Groundtruth.boxes], SEEDS[0])
    expected = before["image"].numpy()
    expected[20:51, 30:61] = expected[20:51, 30:61][:, ::-1]
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_allclose(found, boxes)


def test_a_third_of_the_boxes_are_changed_inside():
    rows = np.arange(0, 100, 4) / 100
    boxes = np.stack([rows, 0 * rows, rows + 0.01, 0 * rows + 0.99], axis=1)
    before, results = outcomes("Flip_Only_BBoxes", 0, boxes=boxes)
    changed = [(image != before).any((1, 2)).sum() / (2 * len(boxes)) for image, _ in results]
    assert 0.2 < np.mean(changed) < 0.47


def test_cutout():
    # Level 2: 20 pixels in each direction of the center.
    before, results = outcomes("Cutout", 2)
    for image, _ in results:
        changed = (image != before).any(-1)
        assert (image[changed] == 128).all()
        rows, columns = changed.any(1).sum(), changed.any(0).sum()
        assert 20 <= rows <= 40
        assert 20 <= columns <= 40
        assert changed.sum() == rows * columns


def test_cutout_of_a_box():
    # Level 10: 0.75 of 31 x 41 pixels, around a pixel of the box.
    before, results = outcomes("BBox_Cutout", 10, boxes=[[0.3, 1 / 3, 0.6, 2 / 3]])
    for image, boxes in results:
        changed = (image != before).any(-1)
        assert changed.any(1).sum() == 22
        assert changed.any(0).sum() == 30
        np.testing.assert_allclose(boxes, [[0.3, 1 / 3, 0.6, 2 / 3]])


def test_colors_leave_the_boxes():
    for name in ("Color", "Brightness", "Contrast", "Posterize", "Solarize", "Equalize"):
        before, results = outcomes(name, 4, seeds=SEEDS[:1])
        image, boxes = results[0]
        assert (image != before).any(), name
        np.testing.assert_array_equal(boxes, example()[Groundtruth.boxes])


def test_of_a_config():
    step = preprocessor_pb2.PreprocessingStep(
        autoaugment_image=preprocessor_pb2.AutoAugmentImage(policy_name="test")
    )
    augmentation = augmentation_builder.build(step)
    result = augmentation(example(), SEEDS[0])
    assert_objects_fit(result)
    assert (result["image"].numpy() != example()["image"].numpy()).any()


def test_an_unknown_policy():
    with pytest.raises(ValueError, match="policy_name is 'v9', expected one of test, v0, v1"):
        augmentation_policies.autoaugment_image("v9")
