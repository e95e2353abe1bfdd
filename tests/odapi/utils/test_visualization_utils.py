"""Drawing in the OD API's forms."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageColor

from object_detection_mtl import visualization
from object_detection_mtl.odapi.utils import ops, visualization_utils

INDEX = {1: {"id": 1, "name": "car"}, 2: {"id": 2, "name": "dog"}}
BOXES = np.array([[0.1, 0.1, 0.9, 0.9], [0.2, 0.2, 0.4, 0.4]])


def image(dtype=np.uint8):
    return np.full((120, 160, 3), 90, dtype)


@pytest.fixture
def labels(monkeypatch):
    """The labels of the next drawing."""
    found = []
    draw_boxes = visualization.draw_boxes

    def recording(*arguments, **options):
        found.extend(options["texts"])
        return draw_boxes(*arguments, **options)

    monkeypatch.setattr(visualization, "draw_boxes", recording)
    return found


def draw(array, scores=(0.914, 0.3), classes=(1, 2), **options):
    options = {"use_normalized_coordinates": True, **options}
    return visualization_utils.visualize_boxes_and_labels_on_image_array(
        array, BOXES, np.array(classes), np.array(scores), INDEX, **options
    )


def test_all_parameters_of_the_od_api():
    function = visualization_utils.visualize_boxes_and_labels_on_image_array
    assert len(inspect.signature(function).parameters) == 22


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_the_array_is_drawn_on_and_returned(dtype):
    array = image(dtype)
    assert draw(array) is array
    assert array.dtype == dtype
    assert (array != 90).any()


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float32])
def test_labels(labels, dtype):
    draw(image(), classes=np.array([1, 7], dtype), min_score_thresh=0.2)
    assert labels == ["car: 91%", "N/A: 30%"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["car: 91%"]),
        ({"min_score_thresh": 0.2}, ["car: 91%", "dog: 30%"]),
        ({"min_score_thresh": 0.2, "max_boxes_to_draw": 1}, ["car: 91%"]),
        ({"min_score_thresh": 0.2, "max_boxes_to_draw": None}, ["car: 91%", "dog: 30%"]),
        ({"agnostic_mode": True}, ["91%"]),
        ({"skip_scores": True}, ["car"]),
        ({"skip_labels": True}, ["91%"]),
        ({"skip_scores": True, "skip_labels": True}, [""]),
        ({"track_ids": np.array([7, 8])}, ["car: 91%: ID 7"]),
        ({"track_ids": np.array([7, 8]), "skip_track_ids": True}, ["car: 91%"]),
        ({"skip_boxes": True}, []),
    ],
)
def test_options_of_labels(labels, options, expected):
    draw(image(), **options)
    assert labels == expected


def test_ground_truth_without_scores(labels):
    array = image()
    visualization_utils.visualize_boxes_and_labels_on_image_array(
        array,
        BOXES,
        np.array([1, 2]),
        None,
        INDEX,
        use_normalized_coordinates=True,
        groundtruth_box_visualization_color="blue",
    )
    assert labels == ["", ""]
    assert (array == (0, 0, 255)).all(axis=-1).any()


def test_boxes_in_pixels_are_the_same():
    normalized, absolute = image(), image()
    draw(normalized)
    visualization_utils.visualize_boxes_and_labels_on_image_array(
        absolute, BOXES * [120, 160, 120, 160], [1, 2], [0.914, 0.3], INDEX
    )
    np.testing.assert_array_equal(normalized, absolute)


def test_masks_and_keypoints():
    masks = np.zeros((2, 120, 160), np.uint8)
    masks[0, :10, :10] = 1
    array = image()
    draw(array, instance_masks=masks, skip_boxes=True)
    assert (array[:10, :10] != 90).any(axis=-1).all()
    assert (array[10:] == 90).all()
    keypoints = np.array([[[0.5, 0.5], [0.6, 0.5]], [[0.1, 0.1], [0.1, 0.1]]])
    draw(array, keypoints=keypoints, keypoint_edges=[(0, 1)], skip_boxes=True)
    assert (array[66, 80] != 90).any()
    assert (array[12, 16] == 90).all()  # its score is too low


def test_a_read_only_image_is_refused():
    array = image()
    array.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        draw(array)


def test_a_batch_of_tensors():
    images = tf.stack([image(), image()])
    drawn = visualization_utils.draw_bounding_boxes_on_image_tensors(
        images, tf.stack([BOXES] * 2), [[1, 2]] * 2, [[0.9, 0.1], [0.1, 0.1]], INDEX
    )
    assert drawn.dtype == tf.uint8
    assert (drawn[0].numpy() != 90).any()
    assert (drawn[1].numpy() == 90).all()


def test_single_boxes():
    array = image()
    visualization_utils.draw_bounding_box_on_image_array(
        array, 0.1, 0.1, 0.9, 0.9, color="red", thickness=2, display_str_list=["a", "b"]
    )
    assert (array == (255, 0, 0)).all(axis=-1).any()
    pillow = Image.fromarray(image())
    visualization_utils.draw_bounding_box_on_image(
        pillow, 12, 16, 108, 144, color="red", thickness=2, use_normalized_coordinates=False
    )
    assert (np.asarray(pillow) == (255, 0, 0)).all(axis=-1).any()


def test_colors_are_names_for_pillow():
    colors = visualization_utils.STANDARD_COLORS
    assert len(colors) == 126
    assert len({ImageColor.getrgb(color) for color in colors}) > 60


def test_png_files(tmp_path):
    visualization_utils.save_image_array_as_png(image(), tmp_path / "image.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), image())


def test_masks_of_boxes_in_the_image():
    masks = ops.reframe_box_masks_to_image_masks(
        tf.ones([1, 4, 4]), tf.constant([[0.25, 0.5, 0.75, 1.0]]), 8, 8
    )
    expected = np.zeros((8, 8))
    expected[2:6, 4:8] = 1
    inside = masks[0].numpy() > 0.5
    np.testing.assert_array_equal(inside[3:5, 5:7], True)
    np.testing.assert_array_equal(inside & (expected == 0), False)
