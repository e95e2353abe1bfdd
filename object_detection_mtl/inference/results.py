"""Detections as COCO-style JSON.

Two files, which pycocotools and every tool around it read as they are:

    ground_truth = COCO("images.json")
    detections = ground_truth.loadRes("detections.json")

detections.json is a list in the COCO results format, one entry per detection: `image_id`,
`category_id` (1-based), `bbox` [x, y, width, height] in pixels of the picture, `score`; and
`file_name`, so that it can be used alone. images.json says what the numbers mean: `images` (id,
file_name, width, height), `categories` (id, name), and no `annotations`. One file of both would be
no results file: COCO's is a bare list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.inference.stages import Found

DETECTIONS_NAME = "detections.json"
IMAGES_NAME = "images.json"


class Results:
    """Collects the detections of all pictures."""

    def __init__(self, names: Mapping[int, str]) -> None:
        """`names`: class number -> name; others are called `class N`."""
        self._names = dict(names)
        self._images: list[dict[str, Any]] = []
        self._detections: list[dict[str, Any]] = []

    @property
    def num_detections(self) -> int:
        return len(self._detections)

    def add(
        self, image_id: int, file_name: str, height: int, width: int, found: Found
    ) -> dict[str, Any]:
        """Adds a picture of height x width pixels and what was found on it.

        Returns:
            The same as `restore` takes it.
        """
        image = {"id": image_id, "file_name": file_name, "width": width, "height": height}
        ymin, xmin, ymax, xmax = (found.boxes * [height, width, height, width]).T
        bboxes = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
        detections = [
            {
                "image_id": image_id,
                "file_name": file_name,
                "category_id": int(category_id),
                "bbox": [round(float(side), 3) for side in bbox],
                "score": round(float(score), 6),
            }
            for bbox, category_id, score in zip(bboxes, found.classes, found.scores, strict=True)
        ]
        entry = {"image": image, "detections": detections}
        self.restore(entry)
        return entry

    def restore(self, entry: Mapping[str, Any]) -> None:
        """Adds a picture with its detections as `add` returned them, perhaps in an earlier run."""
        self._images.append(entry["image"])
        self._detections += entry["detections"]

    def write(self, directory: Path) -> None:
        """Writes both files, by the pictures' ids, each complete or not at all."""
        self._images.sort(key=lambda image: image["id"])
        self._detections.sort(key=lambda detection: detection["image_id"])
        seen = {detection["category_id"] for detection in self._detections}
        names = {number: f"class {number}" for number in seen} | self._names
        categories = [{"id": number, "name": names[number]} for number in sorted(names)]
        images = {"images": self._images, "categories": categories, "annotations": []}
        lists = (f"{json.dumps(key)}: {_list(rows)}" for key, rows in images.items())
        _write("{" + ",\n".join(lists) + "}\n", directory / IMAGES_NAME)
        _write(_list(self._detections) + "\n", directory / DETECTIONS_NAME)


def _list(rows: Sequence[Any]) -> str:
    """A JSON list, one row on each line."""
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]" if rows else "[]"


def _write(text: str, path: Path) -> None:
    incomplete = path.with_name(f"{path.name}.incomplete")
    incomplete.write_text(text, encoding="utf-8")
    os.replace(incomplete, path)
