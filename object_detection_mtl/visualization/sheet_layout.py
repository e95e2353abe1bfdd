"""Sheets of paper that drawings are laid out on: captions, rows and columns of pictures.

Shape letters: H W an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from object_detection_mtl.visualization import drawing

WIDTH = 1280  # pixels of a sheet
GAP = 16
LINE = 22
PAPER: drawing.Color = (250, 250, 248)
INK: drawing.Color = (30, 30, 34)
SOFT: drawing.Color = (110, 110, 118)
TALLEST_PANEL = 720


def title(name: str, details: str) -> Image.Image:
    """The first line of a sheet: a name in large letters, details in small ones."""
    part, draw = blank(WIDTH - 2 * GAP, 30)
    large = ImageFont.load_default(size=22)
    room = part.width - draw.textlength(f"    {details}", font=small())
    name = drawing.shortened(draw, name, large, room)
    draw.text((0, 0), name, font=large, fill=INK)
    draw.text((draw.textlength(name, font=large) + 16, 7), details, font=small(), fill=SOFT)
    return part


def fitted(image: np.ndarray, width: int) -> Image.Image:
    """The picture at this width, or narrower if it would become too tall."""
    picture = drawing.to_rgb_image(image)
    factor = min(width / picture.width, TALLEST_PANEL / picture.height)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    method = Image.Resampling.LANCZOS if factor < 2 else Image.Resampling.NEAREST
    return picture.resize(size, method)


def small() -> Any:
    """The font of most text."""
    return ImageFont.load_default(size=13)


def counted(number: int, thing: str) -> str:
    """ "1 object", "2 objects"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty part, and what draws on it."""
    part = Image.new("RGB", (width, height), PAPER)
    return part, ImageDraw.Draw(part)


def caption(text: str) -> Image.Image:
    """A line of text."""
    font = ImageFont.load_default(size=14)
    part, draw = blank(round(font.getlength(text)) + 2, LINE)
    draw.text((0, 2), text, font=font, fill=INK)
    return part


def captioned(picture: Image.Image, text: str, below: Image.Image | None = None) -> Image.Image:
    """A picture below its caption; `below` is what explains it."""
    parts = [caption(text), picture, *([below] if below else [])]
    return stacked(parts, gap=4, margin=0)


def stacked(parts: Sequence[Image.Image], gap: int = GAP, margin: int = GAP) -> Image.Image:
    """Parts one below the other."""
    width = max(part.width for part in parts) + 2 * margin
    height = sum(part.height for part in parts) + gap * (len(parts) - 1) + 2 * margin
    sheet, _ = blank(width, height)
    top = margin
    for part in parts:
        sheet.paste(part, (margin, top))
        top += part.height + gap
    return sheet


def side_by_side(parts: Sequence[Image.Image]) -> Image.Image:
    """Parts in a row."""
    width = sum(part.width for part in parts) + GAP * (len(parts) - 1)
    sheet, _ = blank(width, max(part.height for part in parts))
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + GAP
    return sheet


def in_rows(parts: Sequence[Image.Image], columns: int) -> Image.Image:
    """Rows of so many parts."""
    starts = range(0, len(parts), columns)
    return stacked([side_by_side(parts[start : start + columns]) for start in starts], margin=0)
