"""Class colors, fonts and image conversion for drawings.

Shape letters: H W an image, N colors.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from object_detection_mtl.config.errors import printable

Color = tuple[int, int, int]

_SMALLEST_FONT = 12
_NUM_COLORS = 64


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB [N, 3] in 0..1 to CIELAB [N, 3] (D65), a perceptually uniform space."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


@functools.lru_cache(maxsize=1)
def _palette() -> list[Color]:
    """Return vivid colors; each has the largest distance from all before it."""
    steps = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    lab = to_lab(grid / 255.0)
    vivid = (lab[:, 0] > 45) & (np.hypot(lab[:, 1], lab[:, 2]) > 45)
    grid, lab = grid[vivid], lab[vivid]
    chosen = [int(np.argmax(lab[:, 0] + lab[:, 2]))]  # the lightest yellow
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < _NUM_COLORS:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    return [(int(r), int(g), int(b)) for r, g, b in grid[chosen]]


def class_color(class_id: int) -> Color:
    """Return the fixed color of a class; the first dozens of ids differ clearly."""
    colors = _palette()
    return colors[int(class_id) % len(colors)]


def to_rgb_image(image: Any) -> Image.Image:
    """Return a new Pillow RGB image.

    Args:
        image: Pillow image of any mode, or uint8 array [H, W], [H, W, 1] or [H, W, 3].

    Raises:
        ValueError: the array has another dtype or shape, or no pixels.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise ValueError(f"image: expected dtype uint8 (0..255), got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(
            f"image: expected shape [H, W, 3] or [H, W] with pixels, got {list(np.shape(image))}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def scale(image: Image.Image) -> float:
    """Return the geometric mean of width and height, to which fonts and lines are scaled."""
    return (image.width * image.height) ** 0.5


def font(image: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font of a size that fits the image."""
    return ImageFont.load_default(size=max(_SMALLEST_FONT, round(scale(image) / 40)))


def text_color(background: Color) -> Color:
    """Return black or white, whichever is legible on `background`."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


def shortened(draw: ImageDraw.ImageDraw, text: str, font: Any, width: float) -> str:
    """Return `text` on one line, with its middle replaced by dots so that it fits into `width`."""
    text = printable(text)
    kept = len(text)
    short = text
    while kept > 4 and draw.textlength(short, font=font) > width:
        kept -= 1
        # The end of the text is the score.
        short = f"{text[: kept - kept // 2]}..{text[len(text) - kept // 2 :]}"
    return short
