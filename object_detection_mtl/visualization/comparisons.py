"""What was predicted next to its label: shares of classes in regions, and maps.

Shape letters: H W an image, N boxes, R regions, S side of a map, K classes without background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from object_detection_mtl.visualization import drawing, layout, masks, shares

MOST_REGIONS = 6  # of one part
MOST_SHARES = 5  # lines of text below the bars of a region
_LEAST_SHARE = 0.01
_COLUMN = 44  # pixels of a column of numbers


def draw_sheet(name: str, parts: Sequence[Image.Image]) -> np.ndarray:
    """Parts on one sheet: uint8 [h, layout.WIDTH, 3]."""
    title = layout.title(name, "labels (upper bars) and predictions (lower bars)")
    return np.asarray(layout.stacked([title, *parts]))


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
    """A part of a sheet: the first regions, each bright on the picture, over two bars.

    Args:
      title: the caption.
      image: uint8 [H, W, 3].
      boxes: the objects [N, 4], normalised; classes: [N].
      regions: [R, 4] normalised.
      labels, predicted: [R, K + 1]; a prediction of zeros is none.
      names: class number -> name.
    """
    number = min(len(regions), MOST_REGIONS)
    if not number:
        return layout.caption(f"{title}: none")
    names = {0: "background", **names}
    columns = max(4, number)
    width = (layout.WIDTH - (columns + 1) * layout.GAP) // columns
    panels = []
    for index in range(number):
        lit = shares.spotlight(image, boxes, classes, regions[index], width)
        bars = _bars(labels[index], predicted[index], names, width)
        panels.append(layout.stacked([lit, bars], gap=6, margin=0))
    hidden = len(regions) - number
    more = f"; {hidden} more not shown" if hidden else ""
    return layout.captioned(layout.side_by_side(panels), f"{title}{more}")


def _bars(
    label: np.ndarray, predicted: np.ndarray, names: Mapping[int, str], width: int
) -> Image.Image:
    """The label's bar over the prediction's, and both numbers of the largest shares."""
    order = np.argsort(-np.maximum(label, predicted), kind="stable")
    shown = [i for i in order if max(label[i], predicted[i]) >= _LEAST_SHARE][:MOST_SHARES]
    line = 18
    top = 2 * (shares.BAR + 2) + 4
    part, draw = layout.blank(width, top + line * (len(shown) + 1))
    shares.draw_bar(draw, (0, 0, width, shares.BAR), label, {})
    shares.draw_bar(draw, (0, shares.BAR + 2, width, 2 * shares.BAR + 2), predicted, {})
    exists = predicted.sum() > 0
    font = layout.small()
    draw.text((16, top), "label", layout.SOFT, font)
    draw.text((16 + _COLUMN, top), "predicted" if exists else "no prediction", layout.SOFT, font)
    for row, index in enumerate(shown, start=1):
        y = top + line * row
        draw.rectangle((0, y + 3, 10, y + 13), fill=shares.color_of(index))
        draw.text((16, y), f"{label[index]:.2f}", layout.INK, font)
        if exists:
            draw.text((16 + _COLUMN, y), f"{predicted[index]:.2f}", layout.INK, font)
        name = drawing.shortened(draw, shares.name_of(names, index), font, width - 16 - 2 * _COLUMN)
        draw.text((16 + 2 * _COLUMN, y), name, layout.INK, font)
    return part


def draw_maps(
    title: str, image: np.ndarray, *, label: np.ndarray, predicted: np.ndarray
) -> Image.Image:
    """A part of a sheet: two maps [S, S] of numbers in 0..1 on the picture [H, W, 3]."""
    half = (layout.WIDTH - 3 * layout.GAP) // 2
    panels = []
    for name, values in (("label", label), ("predicted", predicted)):
        opacity = np.full(values.shape, 0.6)
        drawn = masks.over_grey(image, half, masks.ramp(values), opacity)
        panels.append(layout.captioned(drawn, f"{title}: {name}"))
    return layout.stacked([layout.side_by_side(panels), _legend()], gap=4, margin=0)


def _legend() -> Image.Image:
    part, draw = layout.blank(200, layout.LINE)
    draw.text((0, 2), "0", layout.INK, layout.small())
    part.paste(masks.ramp_picture(120, 12), (14, 5))
    draw.text((140, 2), "1", layout.INK, layout.small())
    return part
