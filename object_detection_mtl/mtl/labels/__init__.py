"""Auxiliary labels derived from ground-truth boxes: windows, closeness, foreground.

Every function takes arrays or tensors, eagerly, in a graph of tf.data or under XLA (jit_compile),
one image or a padded batch. Boxes are [ymin, xmin, ymax, xmax], normalized to the image; classes
are 1..K, 0 is padding. Results are computed in float64 and have the type of the boxes.
padded_objects.py defines which rows are objects, and the meaning of `num_boxes` and `valid`.
"""

from object_detection_mtl.mtl.labels.foreground_masks import foreground_mask
from object_detection_mtl.mtl.labels.object_windows import object_windows
from object_detection_mtl.mtl.labels.soft_labels import (
    TRANSFORMS,
    closeness_labels,
    to_text,
    window_labels,
)
from object_detection_mtl.mtl.labels.window_sampling import count_windows, sample_windows

__all__ = [
    "TRANSFORMS",
    "closeness_labels",
    "count_windows",
    "foreground_mask",
    "object_windows",
    "sample_windows",
    "to_text",
    "window_labels",
]
