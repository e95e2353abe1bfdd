"""Frames, labels, masks and keypoints drawn on arrays in place.

Shape letters: H W an image, N boxes, M keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from object_detection_mtl import visualization
from object_detection_mtl.visualization import drawing


def rgb(color: str) -> drawing.Color:
    """Return a color name or #rrggbb as numbers."""
    return ImageColor.getrgb(color)[:3]  # type: ignore[return-value]


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Return an image of any number type as uint8."""
    return np.clip(image, 0, 255).astype(np.uint8)


def _write_back(image: np.ndarray, drawn: np.ndarray) -> None:
    if not image.flags.writeable:
        raise ValueError(
            "image is read-only, but it is drawn on in place; pass a copy, np.array(image)"
        )
    image[...] = drawn if image.ndim == 3 and image.shape[2] == 3 else drawn[..., :1]


def draw_labeled_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    colors: Sequence[drawing.Color],
    texts: Sequence[str],
    *,
    thickness: int,
    normalized: bool,
) -> None:
    """Draw frames and labels; the first boxes are on top."""
    if not len(boxes):
        return
    if not normalized:
        height, width = image.shape[:2]
        boxes = boxes / np.array([height, width, height, width], np.float64)
    drawn = visualization.draw_boxes(
        as_bytes(image), boxes, texts=texts, color=colors, thickness=thickness, longer_side=0
    )
    _write_back(image, drawn)


def blend_masks(
    image: np.ndarray,
    masks: Any,
    rows: np.ndarray,
    colors: Sequence[drawing.Color],
    alpha: float,
) -> None:
    """Blend the masks [N, H, W] of `rows`, if there are any."""
    if masks is not None:
        for row, color in zip(rows, colors, strict=True):
            blend_mask(image, np.asarray(masks[row]), color, alpha)


def blend_mask(image: np.ndarray, mask: np.ndarray, color: drawing.Color, alpha: float) -> None:
    """Blend a mask [H, W] of 0 and 1 into an image."""
    inside = mask > 0
    blended = np.array(as_bytes(image))
    blended[inside] = np.round((1 - alpha) * blended[inside] + alpha * np.array(color))
    _write_back(image, blended)


def draw_keypoints(
    image: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray | None,
    color: drawing.Color,
    *,
    radius: float,
    normalized: bool,
    min_score: float,
    edges: Sequence[tuple[int, int]] | None,
    edge_color: drawing.Color | None = None,
    edge_width: int = 2,
) -> None:
    """Draw the keypoints [M, 2] of an object, and lines between them."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(as_bytes(image))
    draw = ImageDraw.Draw(canvas)
    points = keypoints * ((height, width) if normalized else (1, 1))
    valid = np.all(np.isfinite(points), axis=1)
    if scores is not None:
        valid &= scores > min_score
    for start, end in edges or ():
        if max(start, end) < len(points) and valid[start] and valid[end]:
            line = [(points[i][1], points[i][0]) for i in (start, end)]
            draw.line(line, fill=edge_color or color, width=edge_width)
    for y, x in points[valid]:
        draw.ellipse([(x - radius, y - radius), (x + radius, y + radius)], fill=color)
    _write_back(image, np.asarray(canvas))
