"""Drawing of boxes and labels on images, with Pillow and numpy only."""

from object_detection_mtl.visualization.box_drawing import (
    SMALLEST_LONGER_SIDE,
    draw_boxes,
    save_image,
    side_by_side,
)
from object_detection_mtl.visualization.drawing import class_color, to_rgb_image

__all__ = [
    "SMALLEST_LONGER_SIDE",
    "to_rgb_image",
    "class_color",
    "draw_boxes",
    "save_image",
    "side_by_side",
]
