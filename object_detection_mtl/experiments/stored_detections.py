"""ImageDetections and ground truth of a split, collected and stored compactly.

Boxes are stored in sixteenths of a pixel of the original image, scores as float32: many are close
to 1, and rounding would change their order. Older files have scores in 1/65535.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from object_detection_mtl.evaluation.evaluator import (
    CategoryLike,
    DetectionEvaluator,
    ImageGroundtruth,
)
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.inference.image_detections import ImageDetections

_PER_PIXEL = 16
_SCORE = 65535
# Objects of an image belong to so many classes; the last number means "or more".
CLASS_COUNTS = ("1", "2", "3+")


class Collector(DetectionEvaluator):
    """Keeps what it is given; has no metrics."""

    def evaluate(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def images(self) -> dict[str, tuple[ImageGroundtruth, ImageDetections]]:
        """Return ground truth and detections by image."""
        return dict(zip(map(str, self._groundtruth), self._images(), strict=True))


Images = dict[str, tuple[ImageGroundtruth, ImageDetections]]


def mean_ap_by_class_count(
    images: Images, categories: Sequence[CategoryLike]
) -> dict[str, dict[str, float]]:
    """Return mAP@.5 and number of images, by how many classes an image's objects belong to."""
    found = {}
    for number, name in enumerate(CLASS_COUNTS, start=1):
        evaluator = PascalVocEvaluator(categories)
        for image, (truth, detections) in images.items():
            if min(len(np.unique(truth.classes)), len(CLASS_COUNTS)) == number:
                evaluator.add_groundtruth(
                    image, truth.boxes, truth.classes, difficult=truth.difficult
                )
                evaluator.add_detections(
                    image, detections.boxes, detections.scores, detections.classes
                )
        metrics = evaluator.evaluate() if evaluator.num_images else {}
        mean = metrics.get("PascalBoxes_Precision/mAP@0.5IOU", float("nan"))
        found[name] = {"images": evaluator.num_images, "mAP@0.5": mean}
    return found


def save_detections(path: Path, images: Images) -> None:
    """Write the detections of all images, in the order of their names."""
    parts = [images[name][1] for name in sorted(images)]
    _save(
        path,
        counts=np.array([len(part.scores) for part in parts], np.uint16),
        boxes=_packed_boxes([part.boxes for part in parts]),
        scores=np.concatenate([np.asarray(part.scores, np.float32) for part in parts]),
        classes=np.concatenate([part.classes.astype(np.uint8) for part in parts]),
    )


def save_groundtruth(path: Path, images: Images) -> None:
    """Write the ground truth of all images, in the order of their names, unless it is there."""
    if path.exists():
        return
    parts = [images[name][0] for name in sorted(images)]
    _save(
        path,
        names=np.array(sorted(images)),
        counts=np.array([len(part.classes) for part in parts], np.uint16),
        boxes=_packed_boxes([part.boxes for part in parts]),
        classes=np.concatenate([part.classes.astype(np.uint8) for part in parts]),
        difficult=np.concatenate([part.difficult for part in parts]),
    )


def load_detections(path: Path) -> list[ImageDetections]:
    """Return the detections of every image, in the order of the images' names."""
    with np.load(path) as arrays:
        ends = np.cumsum(arrays["counts"].astype(np.int64))[:-1]
        columns = (
            np.split(arrays["boxes"] / _PER_PIXEL, ends),
            np.split(_scores(arrays["scores"]), ends),
            np.split(arrays["classes"].astype(np.int64), ends),
        )
    return [ImageDetections(*image) for image in zip(*columns, strict=True)]


def load_groundtruth(path: Path) -> list[ImageGroundtruth]:
    """Return the ground truth of every image, in the order of the images' names."""
    with np.load(path) as arrays:
        ends = np.cumsum(arrays["counts"].astype(np.int64))[:-1]
        columns = (
            np.split(arrays["boxes"] / _PER_PIXEL, ends),
            np.split(arrays["classes"].astype(np.int64), ends),
            np.split(arrays["difficult"], ends),
        )
    return [
        ImageGroundtruth(
            boxes=boxes,
            classes=classes,
            difficult=difficult,
            is_crowd=np.zeros(len(classes), bool),
            group_of=np.zeros(len(classes), bool),
            area=np.zeros(len(classes)),
        )
        for boxes, classes, difficult in zip(*columns, strict=True)
    ]


def _packed_boxes(boxes: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate([part.reshape(-1, 4) for part in boxes])
    return np.clip(np.round(values * _PER_PIXEL), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def _scores(stored: np.ndarray) -> np.ndarray:
    return stored / _SCORE if stored.dtype == np.uint16 else stored.astype(np.float64)


def _save(path: Path, **arrays: np.ndarray) -> None:
    """Write a file that appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    temporary.replace(path)
