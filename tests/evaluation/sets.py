"""Evaluation sets of the tests: hand-made, recorded and shared ones."""

import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from object_detection_mtl.config.label_map import Category

GOLDEN = Path(__file__).parents[1] / "golden"


def categories(*names: str) -> list[Category]:
    """Return categories 1, 2, ... with these names."""
    return [Category(i, name, name) for i, name in enumerate(names, start=1)]


def golden_set() -> dict:
    return json.loads((GOLDEN / "golden_eval_set.json").read_text())


def golden_metrics(variant: str) -> dict[str, float]:
    return json.loads((GOLDEN / "golden_eval_metrics.json").read_text())[variant]


def feed_golden(evaluator, *, difficult=True, is_crowd=True):
    """Add the recorded evaluation set to `evaluator` and return it."""
    for image in golden_set()["images"]:
        evaluator.add_groundtruth(
            image["image_id"],
            np.array(image["groundtruth_boxes"], np.float32),
            image["groundtruth_classes"],
            difficult=image["groundtruth_difficult"] if difficult else None,
            is_crowd=image["groundtruth_is_crowd"] if is_crowd else None,
        )
        evaluator.add_detections(
            image["image_id"],
            np.array(image["detection_boxes"], np.float32),
            image["detection_scores"],
            image["detection_classes"],
        )
    return evaluator


def shared_directory(*parts: str) -> Path:
    """Return a directory of the shared test data; skip the test if it is missing."""
    root = os.environ.get("ODMTL_SHARED") or Path(__file__).parents[3] / "shared"
    path = Path(root).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data {'/'.join(parts)} (set ODMTL_SHARED)")
    return path


def feed_coco_files(evaluator, annotations: dict, results: list[dict]) -> None:
    """Add a COCO annotation file and a COCO result file, both parsed.

    By ascending image id: pycocotools ranks equal scores in that order, we in that of arrival.
    """

    def yxyx(rows):
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
        xy, wh = boxes[:, :2], boxes[:, 2:]
        return np.concatenate([xy[:, ::-1], (xy + wh)[:, ::-1]], axis=1)

    for image in sorted(annotations["images"], key=lambda image: image["id"]):
        objects = [a for a in annotations["annotations"] if a["image_id"] == image["id"]]
        found = [r for r in results if r["image_id"] == image["id"]]
        evaluator.add_groundtruth(
            image["id"],
            yxyx(objects),
            [a["category_id"] for a in objects],
            is_crowd=[a["iscrowd"] for a in objects],
            area=[a["area"] for a in objects],
        )
        evaluator.add_detections(
            image["id"],
            yxyx(found),
            [r["score"] for r in found],
            [r["category_id"] for r in found],
        )


def feed_voc100(evaluator, directory: Path, names: list[str]) -> None:
    """Add the VOC images and recorded detections, difficult objects as ordinary ones."""
    for name in (directory / "ImageSets/Main/trainval.txt").read_text().split():
        boxes, classes = [], []
        for item in ElementTree.parse(directory / f"Annotations/{name}.xml").iter("object"):
            box = item.find("bndbox")
            boxes.append([float(box.find(side).text) for side in ("ymin", "xmin", "ymax", "xmax")])
            classes.append(names.index(item.find("name").text) + 1)
        evaluator.add_groundtruth(name, boxes, classes)
        file = directory / f"detections/{name}.txt"  # there is none where nothing was detected
        numbers = file.read_text().split() if file.exists() else []
        found = np.array(numbers, np.float64).reshape(-1, 6)
        evaluator.add_detections(name, found[:, [3, 2, 5, 4]], found[:, 1], found[:, 0] + 1)
