"""Sheets of auxiliary labels: places and colors of the parts."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.visualization import (
    class_color,
    label_sheet,
    sheet_layout,
    soft_label_drawing,
)

NAMES = {1: "cat", 2: "dog"}


def labeled(size=(60, 80), boxes=((0.25, 0.25, 0.75, 0.5),), classes=(1,), windows=2, name="a.jpg"):
    """A white image; its closeness and window labels are half class 2, a quarter background."""
    number, label = len(boxes), np.array([0.25, 0.25, 0.5])
    mask = np.zeros([2, 64, 64])
    mask[0, 16:48, 16:32] = 1
    mask[1] = np.where(mask[0] > 0, 3.0, 0.5)
    return label_sheet.LabeledImage(
        name=name,
        image=np.full([*size, 3], 255, np.uint8),
        boxes=np.array(boxes, float).reshape(-1, 4),
        classes=np.array(classes, int),
        closeness=np.tile(label, [number, 1]),
        windows=np.tile([0.0, 0.0, 0.5, 0.5], [windows, 1]),
        window_labels=np.tile(label, [windows, 1]),
        edgemask=mask,
    )


def count(image, color):
    return int((np.asarray(image) == color).all(axis=-1).sum())


def test_a_sheet_has_one_width_and_the_colors_of_its_classes():
    sheet = label_sheet.draw_label_sheet(labeled(), NAMES)
    assert (sheet.mode, sheet.width) == ("RGB", label_sheet.WIDTH)
    assert count(sheet, class_color(1)) > 500
    assert count(sheet, class_color(2)) > 1000


@pytest.mark.parametrize(
    "unusual",
    [
        {"boxes": (), "classes": (), "windows": 1},
        {"windows": 0},
        {"size": (1, 1)},
        {"size": (3, 2000)},
        {"size": (2000, 3)},
        {"windows": 64},
        {"boxes": np.tile([0, 0, 1, 1], [100, 1]), "classes": [2] * 100},
        {"classes": (7,)},
        {"name": "a very long name " * 20},
        {"boxes": ((-0.5, 0.2, 0.4, 3.0),)},
    ],
)
def test_unusual_images(unusual):
    sheet = label_sheet.draw_label_sheet(labeled(**unusual), NAMES)
    assert sheet.width == label_sheet.WIDTH
    assert sheet.height < 6000


def test_a_bar_has_proportional_segments_background_last():
    part, draw = sheet_layout.blank(402, 20)
    soft_label_drawing.draw_bar(draw, (0, 0, 400, 18), np.array([0.25, 0.25, 0.5]), {})
    row = np.asarray(part)[10]
    for start, end, color in (
        (1, 99, class_color(1)),
        (102, 298, class_color(2)),
        (302, 399, soft_label_drawing.BACKGROUND),
    ):
        assert (row[start:end] == color).all(), color


def test_the_mask_covers_its_cells_and_heavier_ones_are_lighter():
    item = labeled(size=(64, 64))
    item.edgemask[1, 16:48, 16:24] = 6.0
    drawn = np.asarray(label_sheet.draw_mask(item.image, item.edgemask, 640)).astype(int)
    brightness = drawn.sum(axis=-1)
    heavy, light, outside = brightness[300, 200], brightness[300, 300], brightness[300, 500]
    assert heavy > light
    assert np.ptp(drawn[300, 500]) == 0
    assert np.ptp(drawn[300, 300]) > 20
    assert brightness[150, 200] == outside  # one cell above the mask


def test_the_range_of_weights_is_that_of_the_covered_cells():
    mask = np.array([[0, 1], [1, 1]])
    weight = np.array([[0.1, 1.0], [10.0, 100.0]])
    found = label_sheet.relative_log_weight(weight, mask)
    np.testing.assert_allclose(found, [[0, 0], [0.5, 1]])
    assert np.isfinite(label_sheet.relative_log_weight(np.ones([2, 2]), mask)).all()
    assert np.isfinite(label_sheet.relative_log_weight(np.ones([2, 2]), mask * 0)).all()


def test_a_window_is_bright_inside_and_dark_outside():
    item = labeled()
    part = label_sheet.draw_window(item, item.windows[0], item.window_labels[0], NAMES, 400)
    assert part.width == 400
    pixels = np.asarray(part)
    assert (pixels[20, 20] == 255).all()
    assert (pixels[20, 380] < 100).all()


def test_images_keep_their_aspect_ratio():
    assert sheet_layout.fitted(np.zeros([100, 200, 3], np.uint8), 600).size == (600, 300)
    assert sheet_layout.fitted(np.zeros([400, 100, 3], np.uint8), 600).size == (180, 720)
    assert isinstance(label_sheet.draw_label_sheet(labeled(), {}), Image.Image)


def test_labels_of_a_task_that_is_off_are_not_drawn():
    whole = label_sheet.draw_label_sheet(labeled(), NAMES)
    heights = {whole.height}
    for off in (["closeness"], ["windows", "window_labels"], ["closeness", "windows", "edgemask"]):
        image = dataclasses.replace(labeled(), **dict.fromkeys(off))
        sheet = label_sheet.draw_label_sheet(image, NAMES)
        assert sheet.width == whole.width
        heights.add(sheet.height)
    assert len(heights) == 4
    assert max(heights) == whole.height
