"""Detections as JSON in the COCO results format.

pycocotools and the tools around it read the two files as they are:

    ground_truth = COCO("images.json")
    detections = ground_truth.loadRes("detections.json")

detections.json is a list in the COCO results format, one entry a detection: `image_id`,
`category_id` (from 1), `bbox` [x, y, width, height] in pixels of the image, `score`; and
`file_name`, so that the file can be used alone. images.json explains the numbers: `images` (id,
file_name, width, height; of a record also `record`, its position, and `source_id`), `categories`
(id, name), and empty `annotations`. COCO's results format is a bare list, so one file cannot hold
both.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from object_detection_mtl.inference.image_detections import ImageDetections

DETECTIONS_NAME = "detections.json"
IMAGES_NAME = "images.json"


def image_result(
    image_id: int,
    description: Mapping[str, Any],
    height: int,
    width: int,
    detections: ImageDetections,
) -> dict[str, Any]:
    """Return the result of one image, for `write_results`.

    Args:
        image_id: Number of the image.
        description: More entries of images.json; `file_name` at least.
        height: In pixels.
        width: In pixels.
        detections: Detections of the image.
    """
    ymin, xmin, ymax, xmax = (detections.boxes * [height, width, height, width]).T
    bboxes = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
    rows = [
        {
            "image_id": image_id,
            "file_name": description["file_name"],
            "category_id": int(category_id),
            "bbox": [round(float(side), 3) for side in bbox],
            "score": round(float(score), 6),
        }
        for bbox, category_id, score in zip(
            bboxes, detections.classes, detections.scores, strict=True
        )
    ]
    return {
        "image": {"id": image_id, **description, "width": width, "height": height},
        "detections": rows,
    }


def write_results(
    entries: Iterable[Mapping[str, Any]],
    class_names: Mapping[int, str],
    directory: Path,
    suffix: str = "",
) -> None:
    """Write both files atomically, with one entry in memory at a time.

    Args:
        entries: From `image_result`, in the order of the files.
        class_names: Class number -> name; other classes are named `class N`.
        directory: Existing directory of the files.
        suffix: Suffix of the file names, before .json.
    """
    images_path, detections_path = (
        directory / f"{Path(name).stem}{suffix}.json" for name in (IMAGES_NAME, DETECTIONS_NAME)
    )
    seen: set[int] = set()
    with (
        _open_atomically(images_path) as images_file,
        _open_atomically(detections_path) as detections_file,
    ):
        images_file.write('{"images": ')
        images, detections = _JsonList(images_file), _JsonList(detections_file)
        for entry in entries:
            images.add(entry["image"])
            for detection in entry["detections"]:
                detections.add(detection)
                seen.add(detection["category_id"])
        detections.end()
        detections_file.write("\n")
        images.end()
        images_file.write(',\n"categories": ')
        categories = _JsonList(images_file)
        all_names = {number: f"class {number}" for number in seen} | dict(class_names)
        for number in sorted(all_names):
            categories.add({"id": number, "name": all_names[number]})
        categories.end()
        images_file.write(',\n"annotations": []}\n')


class _JsonList:
    """A JSON list written incrementally, one row a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._is_empty = True

    def add(self, row: Any) -> None:
        self._file.write(("[\n" if self._is_empty else ",\n") + json.dumps(row))
        self._is_empty = False

    def end(self) -> None:
        self._file.write("[]" if self._is_empty else "\n]")


@contextlib.contextmanager
def _open_atomically(path: Path) -> Iterator[TextIO]:
    """Open a file that takes its name when it is complete."""
    incomplete = path.with_name(f"{path.name}.incomplete")
    with incomplete.open("w", encoding="utf-8") as file:
        yield file
    os.replace(incomplete, path)
