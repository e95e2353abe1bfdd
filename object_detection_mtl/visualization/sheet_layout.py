"""Layout of image sheets: captions, rows and columns.

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
    """Return the first line of a sheet: a name in a large font, details in a small one."""
    part, draw = blank(WIDTH - 2 * GAP, 30)
    large = ImageFont.load_default(size=22)
    room = part.width - draw.textlength(f"    {details}", font=small())
    name = drawing.shortened(draw, name, large, room)
    draw.text((0, 0), name, font=large, fill=INK)
    draw.text((draw.textlength(name, font=large) + 16, 7), details, font=small(), fill=SOFT)
    return part


def fitted(image: np.ndarray, width: int) -> Image.Image:
    """Return the image resized to `width`, or less if it would exceed TALLEST_PANEL."""
    panel = drawing.to_rgb_image(image)
    factor = min(width / panel.width, TALLEST_PANEL / panel.height)
    size = (max(1, round(panel.width * factor)), max(1, round(panel.height * factor)))
    method = Image.Resampling.LANCZOS if factor < 2 else Image.Resampling.NEAREST
    return panel.resize(size, method)


def small() -> Any:
    """Return the font of ordinary text."""
    return ImageFont.load_default(size=13)


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an empty part and its drawing context."""
    part = Image.new("RGB", (width, height), PAPER)
    return part, ImageDraw.Draw(part)


def caption(text: str) -> Image.Image:
    """Return a line of text."""
    font = ImageFont.load_default(size=14)
    part, draw = blank(round(font.getlength(text)) + 2, LINE)
    draw.text((0, 2), text, font=font, fill=INK)
    return part


def captioned(panel: Image.Image, text: str, below: Image.Image | None = None) -> Image.Image:
    """Return a panel below its caption and above its legend `below`, if any."""
    parts = [caption(text), panel, *([below] if below else [])]
    return stacked(parts, gap=4, margin=0)


def stacked(parts: Sequence[Image.Image], gap: int = GAP, margin: int = GAP) -> Image.Image:
    """Return parts stacked vertically."""
    width = max(part.width for part in parts) + 2 * margin
    height = sum(part.height for part in parts) + gap * (len(parts) - 1) + 2 * margin
    sheet, _ = blank(width, height)
    top = margin
    for part in parts:
        sheet.paste(part, (margin, top))
        top += part.height + gap
    return sheet


def side_by_side(parts: Sequence[Image.Image]) -> Image.Image:
    """Return parts in a row."""
    width = sum(part.width for part in parts) + GAP * (len(parts) - 1)
    sheet, _ = blank(width, max(part.height for part in parts))
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + GAP
    return sheet
