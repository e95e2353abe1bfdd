import colorsys

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation_colors
from object_detection_mtl.fields import Groundtruth
from tests.data.augmented import assert_same_eagerly_and_in_a_graph, example, in_a_graph

SEED = tf.constant([1, 2])


def changed(augmentation, pixels):
    """The augmented pixels [H, W, 3] as they are, uint8."""
    before = {**example(), "image": tf.constant(pixels, tf.uint8)}
    after = augmentation(before, SEED)
    np.testing.assert_array_equal(after[Groundtruth.boxes], before[Groundtruth.boxes])
    assert after["image"].dtype == tf.uint8
    return after["image"].numpy().astype(int)


def test_brightness_adds_the_same_everywhere_and_cuts():
    pixels = np.array([[[0, 100, 255], [128, 7, 60]]])
    for seed in range(6):
        after = augmentation_colors.random_adjust_brightness(0.2)(
            {"image": tf.constant(pixels, tf.uint8)}, tf.constant([3, seed])
        )["image"].numpy()
        delta = int(after[0, 0, 1]) - 100
        assert 0 < abs(delta) <= 51
        np.testing.assert_allclose(after, np.clip(pixels + delta, 0, 255), atol=1)


def test_contrast_scales_the_distance_from_the_mean():
    pixels = np.array([[[100, 100, 100], [140, 100, 120]]])
    after = changed(augmentation_colors.random_adjust_contrast(0.5, 0.5), pixels)
    np.testing.assert_allclose(after, [[[110, 100, 105], [130, 100, 115]]], atol=1)


def test_saturation_scales_the_saturation():
    after = changed(augmentation_colors.random_adjust_saturation(0.5, 0.5), [[[200, 100, 100]]])
    np.testing.assert_allclose(after, [[[200, 150, 150]]], atol=1)
    assert (
        changed(augmentation_colors.random_adjust_saturation(0, 0), [[[200, 100, 50]]]) == 200
    ).all()


def test_hue_turns_the_wheel():
    for result in in_a_graph(augmentation_colors.random_adjust_hue(0.1), 8, red):
        hue, saturation, value = colorsys.rgb_to_hsv(*(result["image"].numpy()[0, 0] / 255.0))
        assert min(hue, 1 - hue) <= 0.105
        assert saturation > 0.98
        assert value > 0.98


def red():
    return {"image": tf.constant([[[255, 0, 0]]], tf.uint8), Groundtruth.boxes: tf.zeros([0, 4])}


def test_gray():
    after = changed(augmentation_colors.random_rgb_to_gray(1.0), [[[255, 0, 0], [0, 255, 0]]])
    np.testing.assert_allclose(after, [[[76] * 3, [150] * 3]], atol=1)
    results = in_a_graph(augmentation_colors.random_rgb_to_gray(0.3), 60, red)
    assert 6 <= sum(int(result["image"][0, 0, 1] > 0) for result in results) <= 32


def test_distort_color_does_all_four():
    orderings = [
        [r["image"].numpy() for r in in_a_graph(augmentation_colors.random_distort_color(order), 4)]
        for order in (0, 1)
    ]
    for images in orderings:
        assert len({image.tobytes() for image in images}) == 4
    assert not np.array_equal(orderings[0][0], orderings[1][0])


def test_black_patches():
    white = np.full([50, 80, 3], 255)
    after = changed(augmentation_colors.random_black_patches(1, 1.0, 0.2), white)
    rows, columns = np.where(after[..., 0] == 0)
    assert len(rows) == 100
    assert np.ptp(rows) == 9
    assert np.ptp(columns) == 9
    assert (changed(augmentation_colors.random_black_patches(10, 0.0), white) == 255).all()
    many = changed(augmentation_colors.random_black_patches(10, 1.0, 0.2), white)
    assert 200 < (many[..., 0] == 0).sum() <= 1000
    assert (changed(augmentation_colors.random_black_patches(0, 1.0), white) == 255).all()


def test_values_are_scaled_one_by_one():
    after = changed(
        augmentation_colors.random_pixel_value_scale(0.9, 1.1), np.full([40, 50, 3], 100)
    )
    assert after.min() >= 90
    assert after.max() <= 110
    assert len(np.unique(after)) > 15


def test_gamma_and_gain():
    after = changed(augmentation_colors.adjust_gamma(2.0, 0.5), [[[255, 128, 0]]])
    np.testing.assert_allclose(after, [[[128, 32, 0]]], atol=1)


def test_gray_without_chance():
    after = changed(augmentation_colors.rgb_to_gray(), [[[200, 100, 50]]])
    assert len(np.unique(after)) == 1


def test_quality_of_compression():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (32, 32, 3))
    errors = [
        np.abs(changed(augmentation_colors.random_jpeg_quality(0.0, q, q), noise) - noise).mean()
        for q in (5, 95)
    ]
    assert errors[0] > 1.2 * errors[1] > 0
    same = changed(augmentation_colors.random_jpeg_quality(1.0, 5, 5), noise)
    np.testing.assert_array_equal(same, noise)


def test_noise_in_a_square():
    gray = np.full([60, 80, 3], 128)
    patch = augmentation_colors.random_patch_gaussian(0.0, 10, 10, 0.2, 0.2)
    rows, columns = np.where((changed(patch, gray) != 128).any(axis=-1))
    assert np.ptp(rows) <= 9
    assert np.ptp(columns) <= 9
    assert len(rows) > 20
    whole = changed(augmentation_colors.random_patch_gaussian(0.0, 200, 200, 0.1, 0.1), gray)
    assert (whole - 128).std() == pytest.approx(0.1 * 255, rel=0.1)
    same = changed(augmentation_colors.random_patch_gaussian(1.0), gray)
    np.testing.assert_array_equal(same, gray)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augmentation_colors.random_pixel_value_scale(2.0, 1.0), "minval is 2"),
        (lambda: augmentation_colors.adjust_gamma(-1.0), "gamma is -1"),
        (lambda: augmentation_colors.random_jpeg_quality(0.0, 90, 101), "max_jpeg_quality 101"),
        (lambda: augmentation_colors.random_jpeg_quality(2.0), "random_coef as"),
        (lambda: augmentation_colors.random_patch_gaussian(0.0, 0), "min_patch_size is 0"),
        (
            lambda: augmentation_colors.random_patch_gaussian(min_gaussian_stddev=2.0),
            "min_gaussian_stddev is 2",
        ),
    ],
)
def test_wrong_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "augmentation",
    [
        augmentation_colors.random_adjust_brightness(),
        augmentation_colors.random_adjust_contrast(),
        augmentation_colors.random_adjust_hue(),
        augmentation_colors.random_adjust_saturation(),
        augmentation_colors.random_distort_color(),
        augmentation_colors.random_rgb_to_gray(0.5),
        augmentation_colors.random_black_patches(),
        augmentation_colors.random_pixel_value_scale(),
        augmentation_colors.random_jpeg_quality(0.3, 10, 90),
        augmentation_colors.random_patch_gaussian(0.3),
    ],
)
def test_the_same_eagerly_and_in_a_graph(augmentation):
    assert_same_eagerly_and_in_a_graph(augmentation)
