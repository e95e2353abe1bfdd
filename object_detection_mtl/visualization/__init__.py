"""Drawings on pictures; needs Pillow and numpy only."""

from object_detection_mtl.visualization.box_drawing import (
    SMALLEST_LONGER_SIDE,
    draw_boxes,
    save,
    side_by_side,
)
from object_detection_mtl.visualization.drawing import as_picture, class_color

__all__ = [
    "SMALLEST_LONGER_SIDE",
    "as_picture",
    "class_color",
    "draw_boxes",
    "save",
    "side_by_side",
]
