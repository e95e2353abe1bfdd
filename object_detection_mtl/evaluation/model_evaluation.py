"""Evaluation of exported models: images to detections of a batch of one.

Shape letters: H W an image, D detections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch, Detections
from object_detection_mtl.inference.image_detections import ImageDetections


def keep_image(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return an image [H, W, 3] as it is and its shape [3]; an exported model resizes images."""
    return image, tf.shape(image)


def make_infer_fn(
    predict: Callable[[np.ndarray], ImageDetections],
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function from a batch of one image to `fields.Detections` [1, D, ...].

    Args:
        predict: image [H, W, 3] uint8 -> its detections.
    """

    def infer(batch: Mapping[str, Any]) -> dict[str, Any]:
        height, width = np.asarray(batch[Batch.original_image_shapes])[0, :2]
        image = np.asarray(batch[Batch.original_images])[0, :height, :width]
        found = predict(image)
        return {
            Detections.boxes: found.boxes[np.newaxis],
            Detections.scores: found.scores[np.newaxis],
            Detections.classes: (found.classes - 1.0)[np.newaxis],
            Detections.num_detections: np.array([len(found.scores)], np.float32),
        }

    return infer
