"""Detections as COCO-style JSON.

Two files, which pycocotools and every tool around it read as they are:

    ground_truth = COCO("images.json")
    detections = ground_truth.loadRes("detections.json")

detections.json is a list in the COCO results format, one entry per detection: `image_id`,
`category_id` (1-based), `bbox` [x, y, width, height] in pixels of the picture, `score`; and
`file_name`, so that it can be used alone. images.json says what the numbers mean: `images` (id,
file_name, width, height; of a record also `record`, its place, and `source_id`), `categories` (id,
name), and no `annotations`. One file of both would be no results file: COCO's is a bare list.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from object_detection_mtl.inference.stages import Found

DETECTIONS_NAME = "detections.json"
IMAGES_NAME = "images.json"


def entry(
    image_id: int, image: Mapping[str, Any], height: int, width: int, found: Found
) -> dict[str, Any]:
    """What a picture of height x width pixels gave, for `write`.

    Args:
        image: what is told of the picture besides; `file_name` at least.
    """
    ymin, xmin, ymax, xmax = (found.boxes * [height, width, height, width]).T
    bboxes = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
    detections = [
        {
            "image_id": image_id,
            "file_name": image["file_name"],
            "category_id": int(category_id),
            "bbox": [round(float(side), 3) for side in bbox],
            "score": round(float(score), 6),
        }
        for bbox, category_id, score in zip(bboxes, found.classes, found.scores, strict=True)
    ]
    return {
        "image": {"id": image_id, **image, "width": width, "height": height},
        "detections": detections,
    }


def write(
    entries: Iterable[Mapping[str, Any]],
    names: Mapping[int, str],
    directory: Path,
    ending: str = "",
) -> None:
    """Writes both files, each complete or not at all; one entry after the other is looked at.

    Args:
        entries: of `entry`, in the order that the files shall have.
        names: class number -> name; others are called `class N`.
        ending: what the names of the files have before .json.
    """
    images_path, detections_path = (
        directory / f"{Path(name).stem}{ending}.json" for name in (IMAGES_NAME, DETECTIONS_NAME)
    )
    seen: set[int] = set()
    with (
        _complete_or_not(images_path) as images_file,
        _complete_or_not(detections_path) as detections_file,
    ):
        images_file.write('{"images": ')
        images, detections = _List(images_file), _List(detections_file)
        for one in entries:
            images.add(one["image"])
            for detection in one["detections"]:
                detections.add(detection)
                seen.add(detection["category_id"])
        detections.end()
        detections_file.write("\n")
        images.end()
        images_file.write(',\n"categories": ')
        categories = _List(images_file)
        all_names = {number: f"class {number}" for number in seen} | dict(names)
        for number in sorted(all_names):
            categories.add({"id": number, "name": all_names[number]})
        categories.end()
        images_file.write(',\n"annotations": []}\n')


class _List:
    """A JSON list that is written row by row, each on a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_empty = True

    def add(self, row: Any) -> None:
        self._file.write(("[\n" if self._is_empty else ",\n") + json.dumps(row))
        self._is_empty = False

    def end(self) -> None:
        self._file.write("[]" if self._is_empty else "\n]")


@contextlib.contextmanager
def _complete_or_not(path: Path) -> Iterator[TextIO]:
    incomplete = path.with_name(f"{path.name}.incomplete")
    with incomplete.open("w", encoding="utf-8") as file:
        yield file
    os.replace(incomplete, path)
