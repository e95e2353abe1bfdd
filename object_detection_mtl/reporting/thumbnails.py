"""Thumbnails of images and of image regions as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from object_detection_mtl.data import annotated_pixels
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage

MAX_SIDE = 96
_QUALITY = 70
# A region is shown with so much of its surroundings, as a fraction of its longer side.
_CONTEXT = 0.35
_MIN_REGION = 24


@dataclass(frozen=True)
class Thumbnail:
    """A small image and the part of the original that it shows.

    Attributes:
        url: data URL of a JPEG file, at most MAX_SIDE pixels on a side; empty where the image
            cannot be read.
        window: ymin, xmin, ymax, xmax of the part shown, in pixels of the original.
        reason: why there is no image; empty where there is one.
    """

    url: str
    window: tuple[float, float, float, float]
    reason: str = ""

    @property
    def view_box(self) -> str:
        """The part shown as `viewBox` of an SVG element over it."""
        ymin, xmin, ymax, xmax = self.window
        return f"{xmin:.1f} {ymin:.1f} {max(xmax - xmin, 1):.1f} {max(ymax - ymin, 1):.1f}"

    @property
    def aspect(self) -> str:
        """Width / height for CSS."""
        ymin, xmin, ymax, xmax = self.window
        return f"{max(xmax - xmin, 1):.1f} / {max(ymax - ymin, 1):.1f}"


class ThumbnailMaker:
    """Factory of thumbnails that caches the last decoded image."""

    def __init__(self) -> None:
        self._last: tuple[str, Image.Image | str] | None = None

    def of_image(self, item: EvaluatedImage) -> Thumbnail:
        """Return the whole image."""
        return self.of_region(item, None)

    def of_region(
        self, item: EvaluatedImage, boxes: Sequence[np.ndarray] | np.ndarray | None
    ) -> Thumbnail:
        """Return the part around `boxes` [B, 4] with some context; all of it without boxes."""
        image = self._decoded(item)
        if isinstance(image, str):
            window = _window(item, boxes, item.height, item.width)
            return Thumbnail("", window, image)
        window = _window(item, boxes, image.height, image.width)
        ymin, xmin, ymax, xmax = window
        part = image.crop((int(xmin), int(ymin), int(np.ceil(xmax)), int(np.ceil(ymax))))
        part.thumbnail((MAX_SIDE, MAX_SIDE))
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=_QUALITY)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        return Thumbnail(f"data:image/jpeg;base64,{text}", window)

    def _decoded(self, item: EvaluatedImage) -> Image.Image | str:
        """Return the image, or why there is none."""
        if self._last is None or self._last[0] != item.image_id:
            self._last = item.image_id, _decode(item)
        return self._last[1]


def _decode(item: EvaluatedImage) -> Image.Image | str:
    if item.read_bytes is None:
        return "no image file"
    try:
        image = Image.fromarray(item.decode())
    except FileNotFoundError:
        return "the image file does not exist"
    except (OSError, ValueError):
        return "the image file is unreadable"
    if not item.is_file:
        return image
    height, width = annotated_pixels.annotation_size(
        (image.height, image.width), (item.height, item.width)
    )
    return image if (width, height) == image.size else image.resize((width, height))


def _window(
    item: EvaluatedImage,
    boxes: Sequence[np.ndarray] | np.ndarray | None,
    height: int | None,
    width: int | None,
) -> tuple[float, float, float, float]:
    everything = [item.groundtruth.boxes, item.detections.boxes, np.ones((1, 4))]
    farthest = np.concatenate(everything).max(axis=0)
    bottom, right = float(height or farthest[2]), float(width or farthest[3])
    if boxes is None or not len(boxes):
        return 0.0, 0.0, bottom, right
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    low = np.clip(low, 0, [bottom - 1, right - 1])
    high = np.maximum(np.clip(high, 1, [bottom, right]), low + 1)
    middle = (low + high) / 2
    half = max(_MIN_REGION / 2, (0.5 + _CONTEXT) * float((high - low).max()))
    low = np.maximum(middle - half, 0).round()
    high = np.minimum(middle + half, [bottom, right]).round()
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
