import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation_crops
from object_detection_mtl.data.augmentation_crops import CropOptions
from object_detection_mtl.fields import Groundtruth
from tests.data.augmented import (
    BOXES,
    HEIGHT,
    WIDTH,
    assert_objects_fit,
    assert_same_eagerly_and_in_a_graph,
    example,
    in_a_graph,
    top_left_pixels,
)

SEED = tf.constant([1, 2])
SIDES = np.array([HEIGHT, WIDTH])
ALL = [
    augmentation_crops.random_crop_image(),
    augmentation_crops.ssd_random_crop(),
    augmentation_crops.random_pad_image(),
    augmentation_crops.random_absolute_pad_image(20, 30),
    augmentation_crops.random_crop_pad_image(),
    augmentation_crops.random_square_crop_by_scale(),
]


def original_boxes(result):
    """Boxes of the objects that are left, in pixels of the original image."""
    return BOXES[result[Groundtruth.classes].numpy() - 1] * np.tile(SIDES, 2)


@pytest.mark.parametrize("augmentation", ALL)
def test_boxes_stay_on_their_objects(augmentation):
    """The top left corner of a box shows the pixel that it showed before, or, where the box was cut
    with the image, the first row or column that is left."""
    kept = 0
    for result in in_a_graph(augmentation, 12):
        assert_objects_fit(result)
        kept += len(result[Groundtruth.boxes])
        boxes, image = result[Groundtruth.boxes].numpy(), result["image"].numpy()
        first = image[image[..., 2] == 200][:, :2].min(axis=0)
        expected = np.maximum(original_boxes(result)[:, :2], first)
        np.testing.assert_allclose(top_left_pixels(result), expected, atol=1)
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=1) <= 1
    assert kept > 12


@pytest.mark.parametrize("augmentation", ALL)
def test_the_same_eagerly_and_in_a_graph(augmentation):
    assert_same_eagerly_and_in_a_graph(augmentation, 3)
    result = augmentation(example(boxes=[]), SEED)
    assert result[Groundtruth.boxes].shape == (0, 4)
    assert result[Groundtruth.classes].shape == (0,)


def crop_of(result):
    """(top, left, height, width) of a crop in the original image."""
    image = result["image"].numpy()
    return np.array([*image[0, 0, :2], *image.shape[:2]], int)


def test_a_crop_keeps_its_promises():
    options = CropOptions(
        min_object_covered=0.5, aspect_ratio_range=(0.5, 2.0), area_range=(0.2, 0.6)
    )
    for result in in_a_graph(augmentation_crops.random_crop_image(options), 20):
        top, left, height, width = crop_of(result)
        assert 0.19 <= height * width / (HEIGHT * WIDTH) <= 0.61
        assert 0.48 <= width / height <= 2.05
        # An object stays if enough of its area is inside.
        boxes = BOXES * np.tile(SIDES, 2)
        low = np.maximum(boxes[:, :2], [top, left])
        high = np.minimum(boxes[:, 2:], [top + height, left + width])
        inside = np.prod(np.maximum(high - low, 0), axis=1)
        fractions = inside / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        assert fractions.max() >= 0.49
        kept = set(result[Groundtruth.classes].numpy() - 1)
        assert set(np.where(fractions > 0.3001)[0]) <= kept <= set(np.where(fractions > 0.2999)[0])


def test_boxes_may_stick_out_where_they_are_not_clipped():
    options = CropOptions(min_object_covered=0.1, overlap_thresh=0.1, clip_boxes=False)
    results = in_a_graph(augmentation_crops.random_crop_image(options), 20)
    boxes = np.concatenate([result[Groundtruth.boxes] for result in results])
    assert boxes.min() < 0 or boxes.max() > 1


def test_random_coef_leaves_the_image_alone():
    for coefficient, least, most in ((1.0, 30, 30), (0.5, 6, 24), (0.0, 0, 2)):
        augmentation = augmentation_crops.random_crop_image(CropOptions(random_coef=coefficient))
        results = in_a_graph(augmentation, 30)
        whole = sum(result["image"].shape == (HEIGHT, WIDTH, 3) for result in results)
        assert least <= whole <= most


def test_a_canvas_has_the_requested_size_and_color():
    pad = augmentation_crops.random_pad_image((110, 130), (150, 200), (1.0, 2.0, 3.0))
    shapes = [result["image"].shape for result in in_a_graph(pad, 20)]
    heights, widths = np.array(shapes)[:, :2].T
    assert 110 <= heights.min() < heights.max() <= 150
    assert 130 <= widths.min() < widths.max() <= 200
    image = pad(example(), SEED)["image"].numpy()
    outside = image[image[..., 2] != 200]
    assert (outside == [1, 2, 3]).all()
    assert len(outside) == image.shape[0] * image.shape[1] - HEIGHT * WIDTH
    # Without a color, the mean; and never smaller than the image.
    image = augmentation_crops.random_pad_image((1, 1), (130, 150))(example(), SEED)[
        "image"
    ].numpy()
    assert image.shape[0] >= HEIGHT
    assert image.shape[1] >= WIDTH
    np.testing.assert_allclose(image.reshape(-1, 3).mean(0), [49.5, 59.5, 200], atol=1)


def test_padding_by_a_number_of_pixels():
    pad = augmentation_crops.random_absolute_pad_image(7, 0, (1.0, 2.0, 3.0))
    heights, widths = zip(*(r["image"].shape[:2] for r in in_a_graph(pad, 20)), strict=True)
    assert HEIGHT <= min(heights) < max(heights) <= HEIGHT + 7
    assert set(widths) == {WIDTH}
    with pytest.raises(ValueError, match="max_height_padding is -1"):
        augmentation_crops.random_absolute_pad_image(-1, 0)


def test_crop_and_pad_is_measured_by_the_image_before():
    augmentation = augmentation_crops.random_crop_pad_image(
        CropOptions(area_range=(0.1, 0.3)), (1.0, 0.5), (1.0, 0.5)
    )
    for result in in_a_graph(augmentation, 5):
        height, width, _ = result["image"].shape
        assert height == HEIGHT
        assert width >= WIDTH // 2


def test_square_crops():
    augmentation = augmentation_crops.random_square_crop_by_scale(20, 0.5, 1.5, 3)
    sides = set()
    for result in in_a_graph(augmentation, 20):
        height, width, _ = result["image"].shape
        assert height == width
        sides.add(height)
        black = (result["image"].numpy() == 0).all(-1)
        assert not black.all()
    assert sides == {60, 120, 180}


def test_the_centre_of_a_square_keeps_away_from_the_border():
    """Half of a side of 100 is the most; a border of 128 is halved to 32, 20 stays."""
    tall = tf.constant([100, 120])
    np.testing.assert_array_equal(augmentation_crops.border_of_centers(128, tall), [32, 32])
    np.testing.assert_array_equal(augmentation_crops.border_of_centers(20, tall), [20, 20])
    np.testing.assert_array_equal(
        augmentation_crops.border_of_centers(128, tf.constant([1, 1])), [0, 0]
    )


def test_one_of_the_kinds_is_chosen():
    kinds = [CropOptions(area_range=(size, size), aspect_ratio_range=(0.5, 2)) for size in (0.2, 1)]
    results = in_a_graph(augmentation_crops.ssd_random_crop(kinds), 20)
    areas = [np.prod(result["image"].shape[:2]) / (HEIGHT * WIDTH) for result in results]
    assert {round(area, 1) for area in areas} == {0.2, 1.0}


@pytest.mark.parametrize("augmentation", ALL)
def test_an_image_of_one_pixel(augmentation):
    tiny = {**example(np.float32([[0, 0, 1, 1]])), "image": tf.ones([1, 1, 3], tf.uint8)}
    assert min(augmentation(tiny, SEED)["image"].shape) >= 1
