"""Drawings of auxiliary predictions next to their labels.

Shape letters: H W an image, N boxes, R regions, S side of a map, K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from object_detection_mtl.visualization import drawing, sheet_layout, soft_label_drawing

MOST_REGIONS = 6  # of one part
MOST_CLASSES = 5  # lines of text below the two bars of a region
_LEAST_VALUE = 0.01
_COLUMN = 44  # pixels of a column of numbers


def draw_comparison_sheet(name: str, parts: Sequence[Image.Image]) -> np.ndarray:
    """Return parts on one sheet: uint8 [h, sheet_layout.WIDTH, 3]."""
    title = sheet_layout.title(name, "labels (top) and predictions (bottom)")
    return np.asarray(sheet_layout.stacked([title, *parts]))


def draw_regions(
    title: str,
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    *,
    regions: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    names: Mapping[int, str],
) -> Image.Image:
    """Draw the first regions, each highlighted in the image, above its label and prediction.

    Args:
        title: the caption.
        image: uint8 [H, W, 3].
        boxes: the objects [N, 4], normalized.
        classes: [N] their class ids.
        regions: [R, 4] normalized.
        labels: [R, K + 1].
        predicted: [R, K + 1]; zeros mean that there is no prediction.
        names: class id -> name.
    """
    number = min(len(regions), MOST_REGIONS)
    if not number:
        return sheet_layout.caption(f"{title}: none")
    names = {0: "background", **names}
    columns = max(4, number)
    width = (sheet_layout.WIDTH - (columns + 1) * sheet_layout.GAP) // columns
    panels = []
    for index in range(number):
        region = soft_label_drawing.highlight_region(image, boxes, classes, regions[index], width)
        values = draw_bar_panel(labels[index], predicted[index], names, width)
        panels.append(sheet_layout.stacked([region, values], gap=6, margin=0))
    hidden = len(regions) - number
    more = f"; {hidden} more not shown" if hidden else ""
    return sheet_layout.captioned(sheet_layout.side_by_side(panels), f"{title}{more}")


def draw_bar_panel(
    label: np.ndarray, predicted: np.ndarray, names: Mapping[int, str], width: int
) -> Image.Image:
    """Draw the label's bar above the prediction's, and the largest values of both.

    Args:
        label: [K+1] soft label.
        predicted: [K+1]; zeros for no prediction.
        names: class id -> name.
        width: of the drawing, in pixels.
    """
    order = np.argsort(-np.maximum(label, predicted), kind="stable")
    shown = [i for i in order if max(label[i], predicted[i]) >= _LEAST_VALUE][:MOST_CLASSES]
    line = 18
    top = 2 * (soft_label_drawing.BAR + 2) + 4
    part, draw = sheet_layout.blank(width, top + line * (len(shown) + 1))
    soft_label_drawing.draw_bar(draw, (0, 0, width, soft_label_drawing.BAR), label, {})
    soft_label_drawing.draw_bar(
        draw, (0, soft_label_drawing.BAR + 2, width, 2 * soft_label_drawing.BAR + 2), predicted, {}
    )
    exists = predicted.sum() > 0
    font = sheet_layout.small()
    draw.text((16, top), "label", sheet_layout.SOFT, font)
    draw.text(
        (16 + _COLUMN, top), "predicted" if exists else "no prediction", sheet_layout.SOFT, font
    )
    for row, index in enumerate(shown, start=1):
        y = top + line * row
        draw.rectangle((0, y + 3, 10, y + 13), fill=soft_label_drawing.color_of(index))
        draw.text((16, y), f"{label[index]:.2f}", sheet_layout.INK, font)
        if exists:
            draw.text((16 + _COLUMN, y), f"{predicted[index]:.2f}", sheet_layout.INK, font)
        name = drawing.shortened(
            draw, soft_label_drawing.name_of(names, index), font, width - 16 - 2 * _COLUMN
        )
        draw.text((16 + 2 * _COLUMN, y), name, sheet_layout.INK, font)
    return part


def draw_maps(
    title: str, image: np.ndarray, *, label: np.ndarray, predicted: np.ndarray
) -> Image.Image:
    """Draw two maps [S, S] of values in 0..1 over the image [H, W, 3]."""
    half = (sheet_layout.WIDTH - 3 * sheet_layout.GAP) // 2
    panels = []
    for name, values in (("label", label), ("predicted", predicted)):
        opacity = np.full(values.shape, 0.6)
        drawn = soft_label_drawing.overlay_map(
            image, half, soft_label_drawing.ramp(values), opacity
        )
        panels.append(sheet_layout.captioned(drawn, f"{title}: {name}"))
    return sheet_layout.stacked([sheet_layout.side_by_side(panels), _legend()], gap=4, margin=0)


def _legend() -> Image.Image:
    part, draw = sheet_layout.blank(200, sheet_layout.LINE)
    draw.text((0, 2), "0", sheet_layout.INK, sheet_layout.small())
    part.paste(soft_label_drawing.ramp_legend(120, 12), (14, 5))
    draw.text((140, 2), "1", sheet_layout.INK, sheet_layout.small())
    return part
