"""Export of an evaluation in the COCO layout that FiftyOne and supervision import.

<directory>/data/              the images
<directory>/labels.json        ground truth: a COCO instances file
<directory>/predictions.json   detections: COCO results of the images of labels.json
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage, EvaluationSet
from object_detection_mtl.reporting.page import write_atomically

IMAGES = "data"
LABELS = "labels.json"
PREDICTIONS = "predictions.json"
_EXTENSIONS = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"BM": ".bmp", b"GI": ".gif", b"RI": ".webp"}
_IMAGE_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|gif|webp|tiff?)$", re.IGNORECASE)


def write_coco_layout(evaluation: EvaluationSet, directory: str | Path) -> Path:
    """Write images, ground truth and detections; return the directory.

    Images that cannot be read are listed in labels.json without a file. Difficult objects keep an
    entry `difficult`, which COCO does not define; groups become crowds.

    Args:
        evaluation: images with detections.
        directory: output directory; created if it does not exist.
    """
    directory = Path(directory)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    used: set[str] = set()
    for number, image in enumerate(evaluation.images, start=1):
        data = _read(image)
        name = _file_name(image, data, used)
        if data is not None:
            write_atomically(directory / IMAGES / name, data)
        images.append(
            {"id": number, "file_name": name, "height": image.height, "width": image.width}
        )
        for entry in _annotations(image, number):
            annotations.append({"id": len(annotations) + 1, **entry})
        predictions += _predictions(image, number)
    categories = [
        {"id": category.id, "name": category.display_name, "supercategory": ""}
        for category in evaluation.categories
    ]
    labels = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(directory / PREDICTIONS, json.dumps(predictions, ensure_ascii=False))
    write_atomically(directory / LABELS, json.dumps(labels, ensure_ascii=False))
    return directory


def _read(image: EvaluatedImage) -> bytes | None:
    if image.read_bytes is None:
        return None
    try:
        return image.read_bytes()
    except (OSError, ValueError):
        return None


def _file_name(image: EvaluatedImage, data: bytes | None, used: set[str]) -> str:
    """Return a unique file name for the image, without directories."""
    names = [image.image_id, *image.aliases]
    named = [name for name in names if _IMAGE_EXTENSION.search(name) and "/" not in name]
    name = named[0] if named else re.sub(r"[^\w.-]", "_", image.image_id)
    if not named:
        name += _EXTENSIONS.get((data or b"")[:2], ".jpg")
    stem, _, extension = name.rpartition(".")
    number = 1
    while name in used:
        number += 1
        name = f"{stem}-{number}.{extension}"
    used.add(name)
    return name


def _boxes(boxes: np.ndarray) -> list[list[float]]:
    """Return x, y, width, height of boxes [N, 4]."""
    ymin, xmin, ymax, xmax = boxes.T
    return np.round(np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1), 3).tolist()


def _annotations(image: EvaluatedImage, number: int) -> list[dict[str, Any]]:
    truth = image.groundtruth
    areas = np.where(truth.area > 0, truth.area, box_overlaps.area(truth.boxes))
    return [
        {
            "image_id": number,
            "category_id": int(truth.classes[row]),
            "bbox": box,
            "area": float(areas[row]),
            "iscrowd": int(truth.is_crowd[row] or truth.group_of[row]),
            "difficult": int(truth.difficult[row]),
            "segmentation": [],
        }
        for row, box in enumerate(_boxes(truth.boxes))
    ]


def _predictions(image: EvaluatedImage, number: int) -> list[dict[str, Any]]:
    found = image.detections
    return [
        {
            "image_id": number,
            "category_id": int(found.classes[row]),
            "bbox": box,
            "score": float(found.scores[row]),
        }
        for row, box in enumerate(_boxes(found.boxes))
    ]
