"""Sheet of an image's auxiliary labels: boxes, mask, closeness, windows.

Shape letters: H W an image, N objects, M windows, S side of the mask, K classes without background.

A sheet has three parts. Top: the image with its numbered boxes, next to the weights of the
foreground mask. Middle: the closeness label of every object. Bottom: windows; each is highlighted
in the image, above its label. A soft label is a bar with a segment for each class, in the colors of
the boxes; background is gray.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from PIL import Image

from object_detection_mtl.config.errors import counted
from object_detection_mtl.visualization import (
    box_drawing,
    drawing,
    sheet_layout,
    soft_label_drawing,
)

MOST_OBJECTS = 24  # closeness bars of one sheet
MOST_CLASSES = 6  # lines of text below the bar of a window, the largest values
WIDTH = sheet_layout.WIDTH


@dataclasses.dataclass(frozen=True)
class LabeledImage:
    """An image with its labels; None for the labels of a task that is off.

    Attributes:
        name: title of the sheet.
        image: uint8 [H, W, 3].
        boxes: [N, 4] normalized.
        classes: [N], 1..K.
        closeness: [N, K+1].
        windows: [M, 4] normalized; all are drawn.
        window_labels: [M, K+1].
        edgemask: [2, S, S], mask and weight.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    closeness: np.ndarray | None = None
    windows: np.ndarray | None = None
    window_labels: np.ndarray | None = None
    edgemask: np.ndarray | None = None


def draw_label_sheet(labeled: LabeledImage, names: Mapping[int, str]) -> Image.Image:
    """Draw all labels of an image.

    Args:
        labeled: the image and its labels.
        names: class id -> name; a class without a name shows its id.

    Returns:
        An RGB image, WIDTH pixels wide.
    """
    names = {0: "background", **names}
    height, width = labeled.image.shape[:2]
    title = sheet_layout.title(
        labeled.name,
        f"{width} x {height} pixels, {counted(len(labeled.boxes), 'object')}",
    )
    half = (WIDTH - 3 * sheet_layout.GAP) // 2
    maps = [sheet_layout.captioned(_boxes(labeled, names, half), "objects")]
    if labeled.edgemask is not None:
        maps.append(_foreground(labeled.image, labeled.edgemask, half))
    parts = [title, sheet_layout.side_by_side(maps)]
    if labeled.closeness is not None:
        parts.append(_closeness(labeled, labeled.closeness, names))
    if labeled.windows is not None and labeled.window_labels is not None:
        parts.append(_windows(labeled, labeled.windows, labeled.window_labels, names))
    return sheet_layout.stacked(parts)


# Parts of the sheet ------------------------------------------------------------------------------


def _boxes(labeled: LabeledImage, names: Mapping[int, str], width: int) -> Image.Image:
    panel = sheet_layout.fitted(labeled.image, width)
    texts = [
        f"{number} {soft_label_drawing.name_of(names, label)}"
        for number, label in enumerate(labeled.classes, start=1)
    ]
    drawn = box_drawing.draw_boxes(panel, labeled.boxes, labeled.classes, texts=texts)
    return Image.fromarray(drawn)


def _foreground(image: np.ndarray, edgemask: np.ndarray, width: int) -> Image.Image:
    return sheet_layout.captioned(
        draw_mask(image, edgemask, width),
        "foreground mask: the color is the weight of a foreground cell",
        _ramp_legend(edgemask, width),
    )


def draw_mask(image: np.ndarray, edgemask: np.ndarray, width: int) -> Image.Image:
    """Draw an image in gray, foreground cells in the colors of their weights.

    Args:
        image: uint8 [H, W, 3].
        edgemask: [2, S, S], mask and weight.
        width: of the drawing, in pixels.
    """
    mask, weight = np.asarray(edgemask, float)
    colors = soft_label_drawing.ramp(relative_log_weight(weight, mask))
    return soft_label_drawing.overlay_map(image, width, colors, np.where(mask > 0, 0.75, 0.0))


def _ramp_legend(edgemask: np.ndarray, width: int) -> Image.Image:
    part, draw = sheet_layout.blank(width, sheet_layout.LINE)
    mask, weight = np.asarray(edgemask, float)
    outside = ""
    if (mask == 0).any():
        outside = f"gray: background, weight {weight[mask == 0].mean():.3g}"
    left = 0.0
    if (mask > 0).any():
        low, high = weight[mask > 0].min(), weight[mask > 0].max()
        draw.text((0, 2), f"{low:.3g}", font=sheet_layout.small(), fill=sheet_layout.INK)
        left = draw.textlength(f"{low:.3g}", font=sheet_layout.small()) + 6
        if high > low:
            part.paste(soft_label_drawing.ramp_legend(120, 12), (round(left), 5))
            draw.text(
                (left + 126, 2), f"{high:.3g}", font=sheet_layout.small(), fill=sheet_layout.INK
            )
            left += 126 + draw.textlength(f"{high:.3g}", font=sheet_layout.small())
        left += 24
    draw.text((left, 2), outside, font=sheet_layout.small(), fill=sheet_layout.SOFT)
    return part


def _closeness(
    labeled: LabeledImage, closeness: np.ndarray, names: Mapping[int, str]
) -> Image.Image:
    """Draw two columns of objects, each with its bar."""
    number = min(len(labeled.boxes), MOST_OBJECTS)
    if not number:
        return sheet_layout.caption("closeness: none (the image has no objects)")
    columns = 1 if number == 1 else 2
    rows = -(-number // columns)
    width = (WIDTH - (columns + 1) * sheet_layout.GAP) // columns if columns == 2 else WIDTH // 2
    part, draw = sheet_layout.blank(WIDTH - 2 * sheet_layout.GAP, rows * (sheet_layout.LINE + 4))
    for index in range(number):
        left = (index // rows) * (width + sheet_layout.GAP)
        top = (index % rows) * (sheet_layout.LINE + 4)
        label = int(labeled.classes[index])
        text = drawing.shortened(
            draw,
            f"{index + 1} {soft_label_drawing.name_of(names, label)}",
            sheet_layout.small(),
            140,
        )
        draw.rectangle(
            (left, top + 3, left + 12, top + 15), fill=soft_label_drawing.color_of(label)
        )
        draw.text((left + 18, top + 1), text, font=sheet_layout.small(), fill=sheet_layout.INK)
        soft_label_drawing.draw_bar(
            draw,
            (left + 166, top, left + width, top + soft_label_drawing.BAR),
            closeness[index],
            names,
        )
    hidden = len(labeled.boxes) - number
    more = f"; {counted(hidden, 'more object')} not shown" if hidden else ""
    return sheet_layout.captioned(
        part, f"closeness: soft label of the classes near an object{more}"
    )


def _windows(
    labeled: LabeledImage, windows: np.ndarray, labels: np.ndarray, names: Mapping[int, str]
) -> Image.Image:
    number = len(windows)
    if not number:
        return sheet_layout.caption("windows: none")
    columns = max(4, min(number, 6))
    width = (WIDTH - (columns + 1) * sheet_layout.GAP) // columns
    panels = [
        draw_window(labeled, window, label, names, width)
        for window, label in zip(windows, labels, strict=True)
    ]
    rows = [
        sheet_layout.side_by_side(panels[start : start + columns])
        for start in range(0, number, columns)
    ]
    return sheet_layout.captioned(
        sheet_layout.stacked(rows, margin=0), "windows: soft label of the highlighted part"
    )


def draw_window(
    labeled: LabeledImage,
    window: np.ndarray,
    label: np.ndarray,
    names: Mapping[int, str],
    width: int,
) -> Image.Image:
    """Draw an image with a highlighted window, its label as a bar, and the largest values.

    Args:
        labeled: the image.
        window: [4] normalized.
        label: [K+1].
        names: class id -> name.
        width: of the drawing, in pixels.
    """
    drawn = soft_label_drawing.highlight_region(
        labeled.image, labeled.boxes, labeled.classes, window, width
    )
    largest = sorted(enumerate(label), key=lambda item: -item[1])
    shown = [(index, value) for index, value in largest if value > 0][:MOST_CLASSES]
    part, draw = sheet_layout.blank(
        width, drawn.height + 6 + soft_label_drawing.BAR + 5 + 18 * len(shown)
    )
    part.paste(drawn, (0, 0))
    top = drawn.height + 6
    soft_label_drawing.draw_bar(draw, (0, top, width, top + soft_label_drawing.BAR), label, {})
    for line, (index, value) in enumerate(shown):
        y = top + soft_label_drawing.BAR + 5 + 18 * line
        draw.rectangle((0, y + 3, 10, y + 13), fill=soft_label_drawing.color_of(index))
        text = f"{value:.3f} {soft_label_drawing.name_of(names, index)}"
        draw.text(
            (16, y),
            drawing.shortened(draw, text, sheet_layout.small(), width - 16),
            sheet_layout.INK,
            sheet_layout.small(),
        )
    return part


def relative_log_weight(weight: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return log weights scaled to 0..1 between the smallest and largest foreground weight.

    Args:
        weight: [S, S], at least 0.
        mask: [S, S], above 0 where there is foreground.
    """
    logarithm = np.log(np.maximum(weight, 1e-12))
    covered = logarithm[mask > 0]
    if not covered.size or covered.max() - covered.min() < 1e-6:
        return np.full_like(logarithm, 0.6)
    return np.clip((logarithm - covered.min()) / (covered.max() - covered.min()), 0.0, 1.0)
