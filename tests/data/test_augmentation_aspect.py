"""Crops and padding to an aspect ratio."""

import numpy as np
import pytest

from object_detection_mtl.data import augmentation_aspect
from tests.data.augmented import (
    BOXES,
    HEIGHT,
    WIDTH,
    assert_objects_fit,
    assert_same_eagerly_and_in_a_graph,
    in_a_graph,
    top_left_pixels,
)

SIDES = np.tile([HEIGHT, WIDTH], 2)
ALL = {
    "crop": augmentation_aspect.random_crop_to_aspect_ratio(0.5),
    "pad": augmentation_aspect.random_pad_to_aspect_ratio(2.0),
    "ssd pad": augmentation_aspect.ssd_random_crop_pad(),
    "ssd fixed": augmentation_aspect.ssd_random_crop_fixed_aspect_ratio(aspect_ratio=1.5),
    "ssd pad fixed": augmentation_aspect.ssd_random_crop_pad_fixed_aspect_ratio(),
}
RATIOS = {"crop": 0.5, "pad": 2.0, "ssd fixed": 1.5, "ssd pad fixed": 1.0}


SLOW_TO_TRACE = ("ssd pad", "ssd fixed")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW_TO_TRACE)) for n in ALL]
)
def test_boxes_stay_on_their_objects(name):
    kept = 0
    for result in in_a_graph(ALL[name], 8):
        assert_objects_fit(result)
        image = result["image"].numpy()
        kept += len(result["groundtruth_boxes"])
        first = image[image[..., 2] == 200][:, :2].min(axis=0)
        original = (BOXES * SIDES)[result["groundtruth_classes"].numpy() - 1]
        expected = np.maximum(original[:, :2], first)
        np.testing.assert_allclose(top_left_pixels(result), expected, atol=1)
        if name in RATIOS:
            assert image.shape[1] / image.shape[0] == pytest.approx(RATIOS[name], rel=0.05)
    assert kept > 4


@pytest.mark.parametrize("name", ALL)
def test_the_same_eagerly_and_in_a_graph(name):
    assert_same_eagerly_and_in_a_graph(ALL[name], 3)


def test_padding_has_bounds():
    augmentation = augmentation_aspect.random_pad_to_aspect_ratio(1.0, (1.5, 1.5), (2.0, 2.0))
    for result in in_a_graph(augmentation, 8):
        height, width = result["image"].shape[:2]
        assert height == width
        assert 1.5 * WIDTH - 1 <= width <= 2 * WIDTH + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: augmentation_aspect.random_crop_to_aspect_ratio(0.0),
        lambda: augmentation_aspect.random_pad_to_aspect_ratio(-1.0),
        lambda: augmentation_aspect.ssd_random_crop_fixed_aspect_ratio(aspect_ratio=0.0),
    ],
)
def test_wrong_ratios(make):
    with pytest.raises(ValueError, match="aspect_ratio is .*, expected more than 0"):
        make()
