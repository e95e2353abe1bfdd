"""Time of the numbers and of the page of a report on generated detections.

    python -m benchmarks.report_speed --images=5000 --detections=100 --classes=80

Prints wall-clock and CPU time of each part, the size of the page, and the peak memory of the
process.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.coco import BACKENDS, CocoEvaluator
from object_detection_mtl.reporting import html_report, mistakes
from object_detection_mtl.reporting.evaluated_images import (
    EvaluatedImage,
    EvaluationSet,
    make_detections,
    make_groundtruth,
)
from object_detection_mtl.reporting.object_matching import match_images
from object_detection_mtl.reporting.report_contents import (
    ERROR_THRESHOLDS,
    feed_evaluator,
    report_contents,
)
from object_detection_mtl.reporting.score_curves import class_curve
from object_detection_mtl.reporting.tide_errors import tide_errors

_SIDE = 480
_OBJECTS = 8


def generated_set(
    num_images: int, num_detections: int, num_classes: int, seed: int = 0
) -> EvaluationSet:
    """Return images with objects, detections near them, and detections of nothing."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((_SIDE, _SIDE)).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    images = []
    for number in range(num_images):
        count = int(rng.integers(1, 2 * _OBJECTS))
        corners = rng.uniform(0, _SIDE * 0.8, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, _SIDE / 2, (count, 2))], 1)
        classes = rng.integers(1, num_classes + 1, count)
        rows = rng.integers(0, count, num_detections)
        found = boxes[rows] + rng.normal(0, 12, (num_detections, 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 2)
        named = np.where(
            rng.random(num_detections) < 0.6,
            classes[rows],
            rng.integers(1, num_classes + 1, num_detections),
        )
        images.append(
            EvaluatedImage(
                f"image {number:06d}",
                make_groundtruth(boxes, classes.tolist()),
                make_detections(found, rng.beta(1, 3, num_detections), named),
                height=_SIDE,
                width=_SIDE,
                read_bytes=lambda: data,
            )
        )
    categories = [Category(i, f"class {i}", f"class {i}") for i in range(1, num_classes + 1)]
    return EvaluationSet("generated", categories, images)


def timed(name: str, call: Callable[[], Any]) -> Any:
    """Return the call's value; print wall-clock and CPU time."""
    start, cpu = time.perf_counter(), time.process_time()
    value = call()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{name:36s} {seconds:8.1f} s, CPU {cpu:8.1f} s", flush=True)
    return value


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of each image")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--no_page", action="store_true", help="numbers alone")
    arguments = parser.parse_args()
    chosen = generated_set(arguments.images, arguments.detections, arguments.classes)
    ids = [category.id for category in chosen.categories]
    found = {}
    for backend in BACKENDS:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend} is not installed")
            continue
        evaluator = CocoEvaluator(chosen.categories, backend=backend)
        feed_evaluator(evaluator, chosen.images)
        found[backend] = timed(f"COCO metrics, {backend}", evaluator.evaluate)
    if len(found) == 2:
        first, second = found.values()
        print(f"greatest difference {max(abs(first[key] - second[key]) for key in first):.1e}")
    table = timed("matches", lambda: match_images(chosen.images))
    timed("VOC average precision", lambda: [class_curve(table, i) for i in ids])
    timed("kinds of errors", lambda: mistakes.count_kinds(table, ids, ERROR_THRESHOLDS))
    timed("TIDE", lambda: tide_errors(chosen.images))
    contents = timed("all numbers of a report", lambda: report_contents(chosen))
    if not arguments.no_page:
        with tempfile.TemporaryDirectory() as directory:
            path = timed("page", lambda: html_report.write_report(contents, Path(directory)))
            print(f"page: {path.stat().st_size / 1e6:.1f} MB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
