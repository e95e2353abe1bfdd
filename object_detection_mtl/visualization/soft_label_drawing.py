"""Drawings of soft labels, regions and maps.

A soft label is drawn as one bar with a segment for each class, in the class's color.

Shape letters: H W an image, N boxes, S side of a map, K classes without background (class 0, gray).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from object_detection_mtl.visualization import box_drawing, drawing, sheet_layout

BAR = 18  # pixels of a bar's height
BACKGROUND: drawing.Color = (168, 168, 172)  # class 0

# From small to large numbers: dark blue, violet, orange, light yellow.
_RAMP = np.array([[26, 18, 92], [140, 30, 140], [240, 110, 50], [252, 248, 170]], float)


def draw_bar(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float, float, float],
    soft_label: np.ndarray,
    names: Mapping[int, str],
) -> None:
    """Draw a soft label [K+1] as a bar; segments show class and value where the text fits."""
    left, top, right, bottom = place
    draw.rectangle(place, fill=(226, 226, 224))
    start, total = left, max(float(np.sum(soft_label)), 1e-9)
    # Background is last, so that classes start at the left edge.
    for index in [*range(1, len(soft_label)), 0]:
        end = start + (right - left) * float(soft_label[index]) / total
        if end - start >= 1:
            color = color_of(index)
            draw.rectangle((start, top, end, bottom), fill=color)
            if start > left:
                draw.line((start, top, start, bottom), fill=sheet_layout.PAPER)
            text = f"{name_of(names, index)} {soft_label[index]:.2f}" if names else ""
            for shorter in (text, text.rpartition(" ")[2]):
                if (
                    shorter
                    and draw.textlength(shorter, font=sheet_layout.small()) <= end - start - 6
                ):
                    ink = drawing.text_color(color)
                    draw.text((start + 4, top + 1), shorter, font=sheet_layout.small(), fill=ink)
                    break
        start = end


def color_of(label: int) -> drawing.Color:
    """Return the color of a class; gray for background."""
    return drawing.class_color(label) if label else BACKGROUND


def name_of(names: Mapping[int, str], label: int) -> str:
    """Return the name of a class, or its id."""
    return names.get(int(label), f"class {int(label)}")


def highlight_region(
    image: np.ndarray, boxes: np.ndarray, classes: np.ndarray, region: np.ndarray, width: int
) -> Image.Image:
    """Return the image with its boxes, darkened outside of one region.

    Args:
        image: uint8 [H, W, 3].
        boxes: [N, 4] normalized.
        classes: [N] class ids.
        region: [4] normalized.
        width: maximum width of the result.
    """
    panel = sheet_layout.fitted(image, width)
    drawn = Image.fromarray(
        box_drawing.draw_boxes(panel, boxes, classes, show_labels=False, longer_side=0)
    )
    place = _pixels(region, drawn)
    inside = Image.new("L", drawn.size, 0)
    ImageDraw.Draw(inside).rectangle(place, fill=255)
    dark = Image.blend(drawn, Image.new("RGB", drawn.size, (0, 0, 0)), 0.72)
    drawn = Image.composite(drawn, dark, inside)
    ImageDraw.Draw(drawn).rectangle(place, outline=(255, 255, 255), width=2)
    return drawn


def _pixels(box: np.ndarray, canvas: Image.Image) -> tuple[int, int, int, int]:
    ymin, xmin, ymax, xmax = np.clip(np.asarray(box, float), 0.0, 1.0)
    right, bottom = canvas.width - 1, canvas.height - 1
    left, top = round(xmin * right), round(ymin * bottom)
    return left, top, max(left, round(xmax * right)), max(top, round(ymax * bottom))


def ramp(values: np.ndarray) -> np.ndarray:
    """Return colors uint8 [..., 3] of values [...] in 0..1."""
    stops = np.linspace(0, 1, len(_RAMP))
    colors = np.stack([np.interp(values, stops, channel) for channel in _RAMP.T], axis=-1)
    return colors.astype(np.uint8)


def ramp_legend(width: int, height: int) -> Image.Image:
    """Return all colors of the ramp, for a legend."""
    return Image.fromarray(np.repeat(ramp(np.linspace(0, 1, width)[np.newaxis]), height, axis=0))


def overlay_map(
    image: np.ndarray, width: int, colors: np.ndarray, opacity: np.ndarray
) -> Image.Image:
    """Return the image in dark gray under the cells of a map.

    Args:
        image: uint8 [H, W, 3].
        width: maximum width of the result.
        colors: uint8 [S, S, 3], of the cells.
        opacity: [S, S] in 0..1.
    """
    gray = ImageOps.grayscale(sheet_layout.fitted(image, width)).convert("RGB")
    dimmed = Image.blend(gray, Image.new("RGB", gray.size, (0, 0, 0)), 0.35)
    alpha = Image.fromarray(np.round(255 * np.asarray(opacity, float)).astype(np.uint8))
    nearest = Image.Resampling.NEAREST
    cells = Image.fromarray(colors).resize(gray.size, nearest)
    return Image.composite(cells, dimmed, alpha.resize(gray.size, nearest))
