"""Maps of numbers over a picture: colours of a ramp on its grey copy.

Shape letters: H W an image, S side of a map.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from object_detection_mtl.visualization import layout

# From small to large numbers: dark blue, violet, orange, light yellow.
_RAMP = np.array([[26, 18, 92], [140, 30, 140], [240, 110, 50], [252, 248, 170]], float)


def ramp(values: np.ndarray) -> np.ndarray:
    """Colours uint8 [..., 3] of values [...] in 0..1."""
    stops = np.linspace(0, 1, len(_RAMP))
    colors = np.stack([np.interp(values, stops, channel) for channel in _RAMP.T], axis=-1)
    return colors.astype(np.uint8)


def ramp_picture(width: int, height: int) -> Image.Image:
    """All colours of the ramp, for a legend."""
    return Image.fromarray(np.repeat(ramp(np.linspace(0, 1, width)[np.newaxis]), height, axis=0))


def over_grey(
    image: np.ndarray, width: int, colors: np.ndarray, opacity: np.ndarray
) -> Image.Image:
    """The picture in dark grey below the cells of a map.

    Args:
      image: uint8 [H, W, 3].
      width: of the result, at most.
      colors: uint8 [S, S, 3], of the cells.
      opacity: [S, S] in 0..1.
    """
    grey = ImageOps.grayscale(layout.fitted(image, width)).convert("RGB")
    dimmed = Image.blend(grey, Image.new("RGB", grey.size, (0, 0, 0)), 0.35)
    share = Image.fromarray(np.round(255 * np.asarray(opacity, float)).astype(np.uint8))
    nearest = Image.Resampling.NEAREST
    cells = Image.fromarray(colors).resize(grey.size, nearest)
    return Image.composite(cells, dimmed, share.resize(grey.size, nearest))
