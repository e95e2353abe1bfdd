"""Augmentations that change the size of an image."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation_sizes
from object_detection_mtl.fields import Groundtruth
from tests.data.augmented import (
    BOXES,
    HEIGHT,
    WIDTH,
    assert_objects_fit,
    assert_same_eagerly_and_in_a_graph,
    example,
    in_a_graph,
)

SEED = tf.constant([1, 2])


@pytest.mark.parametrize("method", augmentation_sizes.RESIZE_METHODS)
def test_a_fixed_size(method):
    result = augmentation_sizes.resize_image(50, 240, method)(example(), SEED)
    image = result["image"].numpy()
    assert image.shape == (50, 240, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(result[Groundtruth.boxes], BOXES)
    rows = np.linspace(0.5, HEIGHT - 1.5, 50)
    np.testing.assert_allclose(image[:, 100, 0], rows, atol=1.6)


def test_a_random_method():
    augmentation = augmentation_sizes.random_resize_method(37, 41)
    results = in_a_graph(augmentation, 12)
    assert {tuple(result["image"].shape) for result in results} == {(37, 41, 3)}
    assert len({result["image"].numpy().tobytes() for result in results}) >= 3
    assert_same_eagerly_and_in_a_graph(augmentation)


def test_images_with_too_many_pixels_are_resized():
    augmentation = augmentation_sizes.random_downscale_to_target_pixels(0.0, 2000, 3000)
    for result in in_a_graph(augmentation, 8):
        height, width = result["image"].shape[:2]
        assert 1800 < height * width <= 3000
        assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.05)
        assert_objects_fit(result)
    unchanged = augmentation_sizes.random_downscale_to_target_pixels(0.0)(example(), SEED)
    np.testing.assert_array_equal(unchanged["image"], example()["image"])
    never = augmentation_sizes.random_downscale_to_target_pixels(1.0, 20, 30)(example(), SEED)
    np.testing.assert_array_equal(never["image"], example()["image"])


def test_a_square_of_a_scaled_image():
    augmentation = augmentation_sizes.random_scale_crop_and_pad_to_square(80, 0.5, 2.0)
    num_objects = 0
    for result in in_a_graph(augmentation, 12):
        assert_objects_fit(result)
        image, boxes = result["image"].numpy(), result[Groundtruth.boxes].numpy()
        assert image.shape == (80, 80, 3)
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=1) <= 1
        num_objects += len(boxes)
        # The center of a box inside the square shows the original's center.
        original = BOXES[result[Groundtruth.classes].numpy() - 1] * np.tile([HEIGHT, WIDTH], 2)
        for box, before in zip(boxes, original, strict=True):
            if box.min() > 0 and box.max() < 1:
                center = ((box[:2] + box[2:]) / 2 * 80).astype(int)
                expected = (before[:2] + before[2:]) / 2
                np.testing.assert_allclose(image[tuple(center)][:2], expected, atol=4)
    assert num_objects > 12
    assert_same_eagerly_and_in_a_graph(augmentation)


def test_an_image_is_repeated_with_its_objects():
    below = augmentation_sizes.random_self_concat_image(1.0, 0.0)(example(), SEED)
    assert below["image"].shape == [2 * HEIGHT, WIDTH, 3]
    assert_objects_fit(below)
    np.testing.assert_allclose(
        below[Groundtruth.boxes],
        np.concatenate([BOXES * [0.5, 1, 0.5, 1], BOXES * [0.5, 1, 0.5, 1] + [0.5, 0, 0.5, 0]]),
    )
    both = augmentation_sizes.random_self_concat_image(1.0, 1.0)(example(), SEED)
    assert both["image"].shape == [2 * HEIGHT, 2 * WIDTH, 3]
    assert len(both[Groundtruth.boxes]) == 4 * len(BOXES)
    never = augmentation_sizes.random_self_concat_image(0.0, 0.0)(example(), SEED)
    np.testing.assert_array_equal(never["image"], example()["image"])
    assert_same_eagerly_and_in_a_graph(augmentation_sizes.random_self_concat_image(0.5, 0.5), 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augmentation_sizes.resize_image(0, 5), "the size is 0x5"),
        (lambda: augmentation_sizes.resize_image(5, 5, "LANCZOS"), "expected one of AREA"),
        (lambda: augmentation_sizes.random_resize_method(5, 0), "the size is 5x0"),
        (
            lambda: augmentation_sizes.random_downscale_to_target_pixels(0.0, 5, 4),
            "min_target_pixels is 5",
        ),
        (
            lambda: augmentation_sizes.random_scale_crop_and_pad_to_square(8, 2.0, 1.0),
            "scale_min 2, scale_max 1",
        ),
        (
            lambda: augmentation_sizes.random_self_concat_image(2.0),
            "concat_vertical_probability as",
        ),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()
