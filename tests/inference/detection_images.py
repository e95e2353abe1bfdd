"""Images, records and predictors for tests of detection runs."""

import json

import numpy as np

from object_detection_mtl.inference.predictor import ImageDetections
from tests.inference import source_files

GREY = 90


def predictor(image):
    """Return three boxes: the upper left quarter and two with lower scores."""
    assert image.dtype == np.uint8
    assert image.ndim == 3
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1], [0, 0, 1, 1]], np.float32)
    return ImageDetections(boxes, np.array([0.9, 0.6, 0.1], np.float32), np.array([1, 2, 1]))


def read(path):
    return json.loads(path.read_text())


def stops_at(width, looked_at):
    """Return a predictor that records widths and is interrupted at one of them."""

    def predict(image):
        looked_at.append(image.shape[1])
        if image.shape[1] == width:
            raise KeyboardInterrupt
        return predictor(image)

    return predict


def write_record(path, widths):
    """Write a record of images of these widths; None is an unreadable image."""
    return source_files.write_record(
        path,
        [
            source_files.example(b"none" if width is None else source_files.png(20, width))
            for width in widths
        ],
    )
