"""Detections of one image, without TensorFlow.

Shape letters: N detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageDetections:
    """The detections of one image, in the order of the detector: best first.

    Attributes:
        boxes: [N, 4], normalized to the image; in evaluations also in pixels.
        scores: [N].
        classes: [N] int64, from 1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def best(self, count: int) -> ImageDetections:
        """Return the `count` best detections, or all if there are fewer."""
        return ImageDetections(self.boxes[:count], self.scores[:count], self.classes[:count])

    def rows(self, chosen: np.ndarray) -> ImageDetections:
        """Return some of the detections: `chosen` is a mask [N] or an array of indices."""
        return ImageDetections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])
