"""Predictions next to labels: soft labels and maps."""

import numpy as np

from object_detection_mtl.visualization import (
    class_color,
    prediction_comparison,
    sheet_layout,
    soft_label_drawing,
)

NAMES = {1: "cat", 2: "dog"}
WHITE = np.full([60, 80, 3], 255, np.uint8)


def regions(number, label=(0.5, 0.5, 0.0), predicted=(0.25, 0.0, 0.75)):
    return prediction_comparison.draw_regions(
        "windows",
        WHITE,
        np.array([[0.25, 0.25, 0.75, 0.5]]),
        np.array([1]),
        regions=np.tile([0.0, 0.0, 0.5, 0.5], [number, 1]),
        labels=np.tile(label, [number, 1]),
        predicted=np.tile(predicted, [number, 1]),
        names=NAMES,
    )


def count(image, color):
    return int((np.asarray(image) == color).all(axis=-1).sum())


def test_the_labels_bar_is_above_the_predictions():
    part = prediction_comparison.draw_bar_panel(
        np.array([0.5, 0.5, 0]), np.array([0.25, 0, 0.75]), NAMES, 400
    )
    label, predicted = np.asarray(part)[
        [soft_label_drawing.BAR // 2, soft_label_drawing.BAR * 3 // 2 + 2]
    ]
    for row, start, end, color in (
        (label, 1, 198, class_color(1)),
        (label, 202, 399, soft_label_drawing.BACKGROUND),
        (predicted, 1, 298, class_color(2)),
        (predicted, 302, 399, soft_label_drawing.BACKGROUND),
    ):
        assert (row[start:end] == color).all(), color


def test_an_object_without_prediction_has_one_bar():
    nothing = prediction_comparison.draw_bar_panel(np.array([0.0, 1, 0]), np.zeros(3), NAMES, 400)
    assert count(nothing, class_color(1)) < 400 * (soft_label_drawing.BAR + 2)
    assert count(nothing, class_color(2)) == 0
    assert count(nothing, soft_label_drawing.BACKGROUND) < 10  # letters


def test_the_first_regions_are_drawn():
    six, forty = (np.asarray(regions(number)) for number in (6, 40))
    assert (
        sheet_layout.WIDTH - 3 * sheet_layout.GAP
        < six.shape[1]
        <= sheet_layout.WIDTH - 2 * sheet_layout.GAP
    )
    below = sheet_layout.LINE + 1
    np.testing.assert_array_equal(six[below:], forty[below : len(six), : six.shape[1]])
    assert regions(1).width == (sheet_layout.WIDTH - 5 * sheet_layout.GAP) // 4
    assert regions(0).height == sheet_layout.LINE


def test_maps_are_colored_by_their_numbers():
    label = np.zeros([4, 4])
    label[:2] = 1.0
    part = np.asarray(
        prediction_comparison.draw_maps("m", WHITE, label=label, predicted=label[::-1])
    )
    part = part[sheet_layout.LINE + 4 :].astype(int)
    half = part.shape[1] // 2
    left, right = part[:, : half - sheet_layout.GAP], part[:, half + sheet_layout.GAP :]
    assert left[100, 100].sum() > 2 * left[400, 100].sum()
    np.testing.assert_array_equal(left[100, 100], right[400, 100])


def test_a_sheet_has_one_width():
    sheet = prediction_comparison.draw_comparison_sheet("image", [regions(0), regions(6)])
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (sheet_layout.WIDTH, 3)


def test_the_ramp_increases_in_lightness():
    brightness = soft_label_drawing.ramp(np.linspace(0, 1, 20)).astype(int).sum(axis=-1)
    assert (np.diff(brightness) > 0).all()
    assert soft_label_drawing.ramp_legend(120, 12).size == (120, 12)
