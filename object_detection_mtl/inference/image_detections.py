"""Detections of one image, without TensorFlow.

Shape letters: N detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageDetections:
    """The detections of one image, best first.

    Attributes:
        boxes: [N, 4] float32, normalized to the image.
        scores: [N] float32.
        classes: [N] int64, from 1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def best(self, count: int) -> ImageDetections:
        """Return the `count` best detections, or all if there are fewer."""
        return ImageDetections(self.boxes[:count], self.scores[:count], self.classes[:count])
