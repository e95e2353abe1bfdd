"""The auxiliary labels of a picture on one sheet: boxes, mask, closeness, windows.

Shape letters: H W an image, N objects, M windows, S side of the mask, K classes without background.

A sheet has three parts. Above, the picture with its boxes, numbered, beside the weights of the
foreground mask. In the middle, the closeness label of every object. Below, windows: the picture,
dark outside of the window, over the window's label. A label is a bar of one unit of length, cut
into the shares of the classes, in the colours of the boxes; background is grey.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from object_detection_mtl.visualization import boxes as box_drawing
from object_detection_mtl.visualization import drawing

WIDTH = 1280  # pixels of a sheet
MOST_OBJECTS = 24  # closeness bars of one sheet
MOST_SHARES = 6  # lines of text below the bar of a window, the largest shares

_GAP = 16
_LINE = 22
_BAR = 18
_PAPER: drawing.Color = (250, 250, 248)
_INK: drawing.Color = (30, 30, 34)
_SOFT: drawing.Color = (110, 110, 118)
_BACKGROUND: drawing.Color = (168, 168, 172)  # class 0
_TALLEST_PANEL = 720
# From light to heavy weights: dark blue, violet, orange, light yellow.
_RAMP = np.array([[26, 18, 92], [140, 30, 140], [240, 110, 50], [252, 248, 170]], float)


@dataclasses.dataclass(frozen=True)
class LabelledPicture:
    """A picture with its labels.

    Attributes:
      name: what the sheet is called.
      image: uint8 [H, W, 3].
      boxes: [N, 4] normalised.
      classes: [N], 1..K.
      closeness: [N, K+1].
      windows: [M, 4] normalised; those that are to be drawn.
      window_labels: [M, K+1].
      edgemask: [2, S, S], mask and weight.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    closeness: np.ndarray
    windows: np.ndarray
    window_labels: np.ndarray
    edgemask: np.ndarray


def draw_sheet(labelled: LabelledPicture, names: Mapping[int, str]) -> Image.Image:
    """Draws all labels of a picture.

    Args:
      labelled: the picture.
      names: class number -> name; a class without one is called by its number.

    Returns:
      An RGB picture of WIDTH pixels.
    """
    names = {0: "background", **names}
    height, width = labelled.image.shape[:2]
    title = _title(
        labelled.name,
        f"{width} x {height} pixels, {_counted(len(labelled.boxes), 'object')}",
    )
    half = (WIDTH - 3 * _GAP) // 2
    parts = [
        title,
        _side_by_side(
            [
                _captioned(_boxes(labelled, names, half), "objects"),
                _captioned(
                    _mask(labelled, half),
                    "foreground mask: the colour is the weight of a covered cell",
                    _ramp_legend(labelled.edgemask, half),
                ),
            ]
        ),
        _closeness(labelled, names),
        _windows(labelled, names),
    ]
    return _stacked(parts)


# Parts of the sheet ------------------------------------------------------------------------------


def _title(name: str, details: str) -> Image.Image:
    part, draw = _blank(WIDTH - 2 * _GAP, 30)
    large = ImageFont.load_default(size=22)
    room = part.width - draw.textlength(f"    {details}", font=_small())
    name = drawing.shortened(draw, name, large, room)
    draw.text((0, 0), name, font=large, fill=_INK)
    draw.text((draw.textlength(name, font=large) + 16, 7), details, font=_small(), fill=_SOFT)
    return part


def _boxes(labelled: LabelledPicture, names: Mapping[int, str], width: int) -> Image.Image:
    picture = _fitted(labelled.image, width)
    texts = [
        f"{number} {_name(names, label)}" for number, label in enumerate(labelled.classes, start=1)
    ]
    drawn = box_drawing.draw_boxes(picture, labelled.boxes, labelled.classes, texts=texts)
    return Image.fromarray(drawn)


def _mask(labelled: LabelledPicture, width: int) -> Image.Image:
    """The picture in grey, its covered cells in the colours of their weights."""
    grey = ImageOps.grayscale(_fitted(labelled.image, width)).convert("RGB")
    mask, weight = np.asarray(labelled.edgemask, float)
    colors = Image.fromarray(_colored(_share_of_range(weight, mask)).astype(np.uint8))
    covered = Image.fromarray(np.where(mask > 0, 190, 0).astype(np.uint8))
    colors = colors.resize(grey.size, Image.Resampling.NEAREST)
    covered = covered.resize(grey.size, Image.Resampling.NEAREST)
    dimmed = Image.blend(grey, Image.new("RGB", grey.size, (0, 0, 0)), 0.35)
    return Image.composite(colors, dimmed, covered)


def _ramp_legend(edgemask: np.ndarray, width: int) -> Image.Image:
    part, draw = _blank(width, _LINE)
    mask, weight = np.asarray(edgemask, float)
    outside = ""
    if (mask == 0).any():
        outside = f"grey: background, weight {weight[mask == 0].mean():.3g}"
    left = 0.0
    if (mask > 0).any():
        low, high = weight[mask > 0].min(), weight[mask > 0].max()
        draw.text((0, 2), f"{low:.3g}", font=_small(), fill=_INK)
        left = draw.textlength(f"{low:.3g}", font=_small()) + 6
        if high > low:
            ramp = _colored(np.linspace(0, 1, 120)[np.newaxis]).astype(np.uint8)
            part.paste(Image.fromarray(np.repeat(ramp, 12, axis=0)), (round(left), 5))
            draw.text((left + 126, 2), f"{high:.3g}", font=_small(), fill=_INK)
            left += 126 + draw.textlength(f"{high:.3g}", font=_small())
        left += 24
    draw.text((left, 2), outside, font=_small(), fill=_SOFT)
    return part


def _closeness(labelled: LabelledPicture, names: Mapping[int, str]) -> Image.Image:
    """Two columns of objects, each with its bar."""
    number = min(len(labelled.boxes), MOST_OBJECTS)
    if not number:
        return _caption("closeness: there is no object")
    columns = 1 if number == 1 else 2
    rows = -(-number // columns)
    width = (WIDTH - (columns + 1) * _GAP) // columns if columns == 2 else WIDTH // 2
    part, draw = _blank(WIDTH - 2 * _GAP, rows * (_LINE + 4))
    for index in range(number):
        left = (index // rows) * (width + _GAP)
        top = (index % rows) * (_LINE + 4)
        label = int(labelled.classes[index])
        text = drawing.shortened(draw, f"{index + 1} {_name(names, label)}", _small(), 140)
        draw.rectangle((left, top + 3, left + 12, top + 15), fill=_color(label))
        draw.text((left + 18, top + 1), text, font=_small(), fill=_INK)
        _bar(draw, (left + 166, top, left + width, top + _BAR), labelled.closeness[index], names)
    hidden = len(labelled.boxes) - number
    more = f"; {_counted(hidden, 'more object')} not shown" if hidden else ""
    return _captioned(part, f"closeness: how near the other classes are to an object{more}")


def _windows(labelled: LabelledPicture, names: Mapping[int, str]) -> Image.Image:
    number = len(labelled.windows)
    if not number:
        return _caption("windows: none")
    columns = max(4, min(number, 6))
    width = (WIDTH - (columns + 1) * _GAP) // columns
    panels = [
        _window(labelled, window, label, names, width)
        for window, label in zip(labelled.windows, labelled.window_labels, strict=True)
    ]
    rows = [_side_by_side(panels[start : start + columns]) for start in range(0, number, columns)]
    return _captioned(_stacked(rows, margin=0), "windows: what the bright part shows")


def _window(
    labelled: LabelledPicture,
    window: np.ndarray,
    label: np.ndarray,
    names: Mapping[int, str],
    width: int,
) -> Image.Image:
    picture = _fitted(labelled.image, width)
    drawn = Image.fromarray(
        box_drawing.draw_boxes(
            picture, labelled.boxes, labelled.classes, show_labels=False, longer_side=0
        )
    )
    place = _pixels(window, drawn)
    inside = Image.new("L", drawn.size, 0)
    ImageDraw.Draw(inside).rectangle(place, fill=255)
    dark = Image.blend(drawn, Image.new("RGB", drawn.size, (0, 0, 0)), 0.72)
    drawn = Image.composite(drawn, dark, inside)
    ImageDraw.Draw(drawn).rectangle(place, outline=(255, 255, 255), width=2)
    shares = sorted(enumerate(label), key=lambda item: -item[1])
    shown = [(index, share) for index, share in shares if share > 0][:MOST_SHARES]
    part, draw = _blank(width, drawn.height + 6 + _BAR + 5 + 18 * len(shown))
    part.paste(drawn, (0, 0))
    top = drawn.height + 6
    _bar(draw, (0, top, width, top + _BAR), label, {})
    for line, (index, share) in enumerate(shown):
        y = top + _BAR + 5 + 18 * line
        draw.rectangle((0, y + 3, 10, y + 13), fill=_color(index))
        text = f"{share:.3f} {_name(names, index)}"
        draw.text((16, y), drawing.shortened(draw, text, _small(), width - 16), _INK, _small())
    return part


# Pieces ------------------------------------------------------------------------------------------


def _bar(
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
            color = _color(index)
            draw.rectangle((start, top, end, bottom), fill=color)
            if start > left:
                draw.line((start, top, start, bottom), fill=_PAPER)
            text = f"{_name(names, index)} {shares[index]:.2f}" if names else ""
            for shorter in (text, text.rpartition(" ")[2]):
                if shorter and draw.textlength(shorter, font=_small()) <= end - start - 6:
                    ink = drawing.text_color(color)
                    draw.text((start + 4, top + 1), shorter, font=_small(), fill=ink)
                    break
        start = end


def _color(label: int) -> drawing.Color:
    return drawing.class_color(label) if label else _BACKGROUND


def _name(names: Mapping[int, str], label: int) -> str:
    return names.get(int(label), f"class {int(label)}")


def _share_of_range(weight: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Where between the lightest and the heaviest covered cell a weight lies, in its logarithm."""
    logarithm = np.log(np.maximum(weight, 1e-12))
    covered = logarithm[mask > 0]
    if not covered.size or covered.max() - covered.min() < 1e-6:
        return np.full_like(logarithm, 0.6)
    return np.clip((logarithm - covered.min()) / (covered.max() - covered.min()), 0.0, 1.0)


def _colored(shares: np.ndarray) -> np.ndarray:
    """Colours [..., 3] of shares [...] in 0..1."""
    stops = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(shares, stops, channel) for channel in _RAMP.T], axis=-1)


def _fitted(image: np.ndarray, width: int) -> Image.Image:
    """The picture at this width, or narrower if it would become too tall."""
    picture = drawing.as_picture(image)
    factor = min(width / picture.width, _TALLEST_PANEL / picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    method = Image.Resampling.LANCZOS if factor < 2 else Image.Resampling.NEAREST
    return picture.resize(size, method)


def _pixels(box: np.ndarray, picture: Image.Image) -> tuple[int, int, int, int]:
    ymin, xmin, ymax, xmax = np.clip(np.asarray(box, float), 0.0, 1.0)
    right, bottom = picture.width - 1, picture.height - 1
    left, top = round(xmin * right), round(ymin * bottom)
    return left, top, max(left, round(xmax * right)), max(top, round(ymax * bottom))


def _small() -> Any:
    return ImageFont.load_default(size=13)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    part = Image.new("RGB", (width, height), _PAPER)
    return part, ImageDraw.Draw(part)


def _caption(text: str) -> Image.Image:
    font = ImageFont.load_default(size=14)
    part, draw = _blank(round(font.getlength(text)) + 2, _LINE)
    draw.text((0, 2), text, font=font, fill=_INK)
    return part


def _captioned(picture: Image.Image, text: str, below: Image.Image | None = None) -> Image.Image:
    parts = [_caption(text), picture, *([below] if below else [])]
    return _stacked(parts, gap=4, margin=0)


def _stacked(parts: Sequence[Image.Image], gap: int = _GAP, margin: int = _GAP) -> Image.Image:
    width = max(part.width for part in parts) + 2 * margin
    height = sum(part.height for part in parts) + gap * (len(parts) - 1) + 2 * margin
    sheet, _ = _blank(width, height)
    top = margin
    for part in parts:
        sheet.paste(part, (margin, top))
        top += part.height + gap
    return sheet


def _side_by_side(parts: Sequence[Image.Image]) -> Image.Image:
    width = sum(part.width for part in parts) + _GAP * (len(parts) - 1)
    sheet, _ = _blank(width, max(part.height for part in parts))
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + _GAP
    return sheet
