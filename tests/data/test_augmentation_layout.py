import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation_layout
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


def apply(augmentation, **options):
    result = augmentation(example(**options), SEED)
    assert_objects_fit(result)
    return result["image"].numpy(), result[Groundtruth.boxes].numpy()


def test_vertical_flip():
    image, boxes = apply(augmentation_layout.random_vertical_flip(1.0))
    np.testing.assert_array_equal(image, example()["image"].numpy()[::-1])
    np.testing.assert_allclose(boxes[0], [0.6, 20 / 120, 0.9, 50 / 120], rtol=1e-5)


def test_rotation():
    """Counter-clockwise: the top right corner becomes the top left one."""
    image, boxes = apply(augmentation_layout.random_rotation90(1.0))
    assert image.shape == (WIDTH, HEIGHT, 3)
    assert image[0, 0].tolist() == [0, WIDTH - 1, 200]
    np.testing.assert_allclose(boxes[0], [70 / 120, 0.1, 100 / 120, 0.4], rtol=1e-5)
    top, left = np.round(boxes[0, :2] * [WIDTH, HEIGHT]).astype(int)
    assert image[top, left, :2].tolist() == [10, 49]  # the box's top right pixel


@pytest.mark.parametrize("name", ["random_vertical_flip", "random_rotation90"])
def test_probability(name):
    augmentation = getattr(augmentation_layout, name)
    before = example()[Groundtruth.boxes].numpy()
    for probability, least, most in ((0.0, 0, 0), (0.3, 4, 26), (1.0, 50, 50)):
        results = in_a_graph(augmentation(probability), 50)
        changed = sum(not np.array_equal(r[Groundtruth.boxes], before) for r in results)
        assert least <= changed <= most
    with pytest.raises(ValueError, match=f"{name}: probability is -1"):
        augmentation(-1)


def test_scale():
    image, boxes = apply(augmentation_layout.random_image_scale(0.5, 0.5))
    assert image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    np.testing.assert_allclose(image[10, 20, :2], [20, 40], atol=1)
    np.testing.assert_array_equal(boxes, np.float32(BOXES))
    heights = [
        r["image"].shape[0] for r in in_a_graph(augmentation_layout.random_image_scale(), 20)
    ]
    assert 50 <= min(heights) < 80
    assert 120 < max(heights) <= 200
    tiny = {**example(), "image": tf.zeros([1, 1, 3], tf.uint8)}
    assert augmentation_layout.random_image_scale(0.1, 0.1)(tiny, SEED)["image"].shape == (1, 1, 3)


def moves(mode, ratio=0.2):
    """[seeds, N, 4] moves of the sides as parts of height and width, outwards positive.

    A box grows by `ratio` of itself, so each side moves by at most half of it.
    """
    sides = np.tile(BOXES[:, 2:] - BOXES[:, :2], [1, 2])
    results = in_a_graph(augmentation_layout.random_jitter_boxes(ratio, mode), 20)
    boxes = np.stack([result[Groundtruth.boxes] for result in results])
    return (boxes - BOXES) / sides * [-1, -1, 1, 1]


def test_jitter():
    # The third box touches the border, where it is cut.
    either = moves("DEFAULT")[:, :2]
    assert np.abs(either).max() <= 0.1001
    assert either.min() < -0.05
    assert either.max() > 0.05
    for prefix, sign in (("EXPAND", 1), ("SHRINK", -1)):
        free, symmetric, both = (
            sign * moves(prefix + suffix)[:, :2] for suffix in ("", "_SYMMETRIC", "_SYMMETRIC_XY")
        )
        for amounts in (free, symmetric, both):
            assert amounts.min() > -1e-5
            assert 0.05 < amounts.max() <= 0.1001
        assert np.abs(free[..., 0] - free[..., 2]).max() > 0.01
        np.testing.assert_allclose(symmetric[..., :2], symmetric[..., 2:], atol=1e-5)
        assert np.abs(symmetric[..., 0] - symmetric[..., 1]).max() > 0.01
        np.testing.assert_allclose(both, both[..., :1] * np.ones(4), atol=1e-5)
    with pytest.raises(ValueError, match="jitter_mode is 'WILD', expected one of DEFAULT"):
        augmentation_layout.random_jitter_boxes(0.1, "WILD")


def test_what_grows_alike_on_both_sides_stops_where_one_meets_the_border():
    """The third box lies in the corner: it has no room at all."""
    for mode in ("EXPAND_SYMMETRIC", "EXPAND_SYMMETRIC_XY"):
        np.testing.assert_allclose(moves(mode)[:, 2], 0.0, atol=1e-6)
    lone_sides = moves("EXPAND")[:, 2]
    assert (lone_sides[:, :2] == 0).all()
    assert (lone_sides[:, 2:] > 0).all()
    assert moves("SHRINK_SYMMETRIC")[:, 2].max() < 0


def test_jittered_boxes_stay_in_the_image():
    for result in in_a_graph(augmentation_layout.random_jitter_boxes(0.5, "EXPAND"), 5):
        boxes = result[Groundtruth.boxes].numpy()
        assert boxes.min() >= 0
        assert boxes.max() <= 1


@pytest.mark.parametrize(
    "augmentation",
    [
        augmentation_layout.random_vertical_flip(),
        augmentation_layout.random_rotation90(),
        augmentation_layout.random_image_scale(),
        augmentation_layout.random_jitter_boxes(),
    ],
)
def test_the_same_eagerly_and_in_a_graph(augmentation):
    assert_same_eagerly_and_in_a_graph(augmentation, 6)
    result = augmentation(example(boxes=[]), SEED)
    assert result[Groundtruth.boxes].shape == (0, 4)
