"""Augmentation of one image, in the forms that scripts use."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.odapi.core import preprocessor

BOXES = tf.constant([[0.1, 0.2, 0.5, 0.6]])


@pytest.fixture
def image():
    return tf.constant(np.random.default_rng(0).integers(0, 256, (20, 30, 3)), tf.uint8)


def test_flips(image):
    flipped, boxes = preprocessor.random_horizontal_flip(image, BOXES, probability=1.0)
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    np.testing.assert_allclose(boxes, [[0.1, 0.4, 0.5, 0.8]], rtol=1e-6)
    flipped = preprocessor.random_vertical_flip(image, probability=1.0)
    np.testing.assert_array_equal(flipped, image[::-1])
    assert preprocessor.random_rotation90(image, BOXES, 1.0)[0].shape == [30, 20, 3]


@pytest.mark.parametrize(
    "name",
    [
        "random_adjust_brightness",
        "random_adjust_contrast",
        "random_adjust_hue",
        "random_adjust_saturation",
        "random_distort_color",
        "random_rgb_to_gray",
    ],
)
def test_colors(image, name):
    tf.random.set_seed(5)
    changed = getattr(preprocessor, name)(image)
    assert changed.shape == image.shape
    tf.random.set_seed(5)
    np.testing.assert_array_equal(getattr(preprocessor, name)(image), changed)


def test_sizes(image):
    assert preprocessor.random_image_scale(image, 0.5, 0.5).shape == [10, 15, 3]
    changed, boxes, labels, weights = preprocessor.random_crop_image(
        image, BOXES, tf.constant([3]), tf.constant([1.0]), min_object_covered=0.5
    )
    assert changed.shape[-1] == 3
    assert len(boxes) == len(labels) == len(weights)


def test_a_step_that_is_missing():
    with pytest.raises(ImportError, match="did you mean .*random_crop_image"):
        preprocessor.random_crop_images  # noqa: B018
