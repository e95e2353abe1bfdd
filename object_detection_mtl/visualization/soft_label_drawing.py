"""Labels that are shares of classes: a bar of one unit of length, cut in the classes' colours.

Shape letters: H W an image, N boxes, K classes without background (class 0, grey).
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
    shares: np.ndarray,
    names: Mapping[int, str],
) -> None:
    """A label [K+1] as a bar; a share says its class and number where there is room."""
    left, top, right, bottom = place
    draw.rectangle(place, fill=(226, 226, 224))
    start, total = left, max(float(np.sum(shares)), 1e-9)
    # Background comes last, so that classes begin at one edge.
    for index in [*range(1, len(shares)), 0]:
        end = start + (right - left) * float(shares[index]) / total
        if end - start >= 1:
            color = color_of(index)
            draw.rectangle((start, top, end, bottom), fill=color)
            if start > left:
                draw.line((start, top, start, bottom), fill=sheet_layout.PAPER)
            text = f"{name_of(names, index)} {shares[index]:.2f}" if names else ""
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
    return drawing.class_color(label) if label else BACKGROUND


def name_of(names: Mapping[int, str], label: int) -> str:
    return names.get(int(label), f"class {int(label)}")


def highlight_region(
    image: np.ndarray, boxes: np.ndarray, classes: np.ndarray, lit: np.ndarray, width: int
) -> Image.Image:
    """The picture with its boxes, dark outside of one rectangle.

    Args:
      image: uint8 [H, W, 3].
      boxes: [N, 4] normalised, classes: [N].
      lit: [4] normalised.
      width: of the result, at most.
    """
    picture = sheet_layout.fitted(image, width)
    drawn = Image.fromarray(
        box_drawing.draw_boxes(picture, boxes, classes, show_labels=False, longer_side=0)
    )
    place = _pixels(lit, drawn)
    inside = Image.new("L", drawn.size, 0)
    ImageDraw.Draw(inside).rectangle(place, fill=255)
    dark = Image.blend(drawn, Image.new("RGB", drawn.size, (0, 0, 0)), 0.72)
    drawn = Image.composite(drawn, dark, inside)
    ImageDraw.Draw(drawn).rectangle(place, outline=(255, 255, 255), width=2)
    return drawn


def _pixels(box: np.ndarray, picture: Image.Image) -> tuple[int, int, int, int]:
    ymin, xmin, ymax, xmax = np.clip(np.asarray(box, float), 0.0, 1.0)
    right, bottom = picture.width - 1, picture.height - 1
    left, top = round(xmin * right), round(ymin * bottom)
    return left, top, max(left, round(xmax * right)), max(top, round(ymax * bottom))


def ramp(values: np.ndarray) -> np.ndarray:
    """Colours uint8 [..., 3] of values [...] in 0..1."""
    stops = np.linspace(0, 1, len(_RAMP))
    colors = np.stack([np.interp(values, stops, channel) for channel in _RAMP.T], axis=-1)
    return colors.astype(np.uint8)


def ramp_legend(width: int, height: int) -> Image.Image:
    """All colours of the ramp, for a legend."""
    return Image.fromarray(np.repeat(ramp(np.linspace(0, 1, width)[np.newaxis]), height, axis=0))


def overlay_map(
    image: np.ndarray, width: int, colors: np.ndarray, opacity: np.ndarray
) -> Image.Image:
    """The picture in dark grey below the cells of a map.

    Args:
      image: uint8 [H, W, 3].
      width: of the result, at most.
      colors: uint8 [S, S, 3], of the cells.
      opacity: [S, S] in 0..1.
    """
    grey = ImageOps.grayscale(sheet_layout.fitted(image, width)).convert("RGB")
    dimmed = Image.blend(grey, Image.new("RGB", grey.size, (0, 0, 0)), 0.35)
    share = Image.fromarray(np.round(255 * np.asarray(opacity, float)).astype(np.uint8))
    nearest = Image.Resampling.NEAREST
    cells = Image.fromarray(colors).resize(grey.size, nearest)
    return Image.composite(cells, dimmed, share.resize(grey.size, nearest))
