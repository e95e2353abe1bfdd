"""Evaluation sets for the tests of reports: small ones by hand, generated ones, recorded ones."""

import json

import numpy as np

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.reporting.evaluated_images import (
    EvaluatedImage,
    EvaluationSet,
    make_detections,
    make_groundtruth,
)
from object_detection_mtl.reporting.report_contents import feed_evaluator
from tests.evaluation.sets import GOLDEN, categories

CAT, DOG = 1, 2
A, B, FAR = [0, 0, 10, 10], [100, 100, 110, 110], [500, 500, 510, 510]
NEAR_A = [0, 1, 10, 11]  # IoU with A: 9/11
LOOSE_A = [0, 5, 10, 15]  # IoU with A: 5/15


def image(truth, found, name="image", **fields):
    """Return an image of objects [(box, class)] and detections [(box, score, class)]."""
    flags = {key: fields.pop(key) for key in ("difficult", "is_crowd", "area") if key in fields}
    return EvaluatedImage(
        name,
        make_groundtruth([t[0] for t in truth], [t[1] for t in truth], **flags),
        make_detections([f[0] for f in found], [f[1] for f in found], [f[2] for f in found]),
        **fields,
    )


def evaluation_set(images, *names):
    """Return a set of `images` with classes of these names, cat and dog by default."""
    return EvaluationSet("detector", categories(*(names or ("cat", "dog"))), images)


def recorded_set(name="golden_eval_set.json"):
    """Return a recorded set of the directory of goldens."""
    content = json.loads((GOLDEN / name).read_text())
    images = [
        EvaluatedImage(
            item["image_id"],
            make_groundtruth(
                item["groundtruth_boxes"],
                item["groundtruth_classes"],
                difficult=item.get("groundtruth_difficult"),
                is_crowd=item.get("groundtruth_is_crowd"),
            ),
            make_detections(
                item["detection_boxes"], item["detection_scores"], item["detection_classes"]
            ),
            height=item.get("height"),
            width=item.get("width"),
        )
        for item in content["images"]
    ]
    known = [Category(c["id"], c["name"], c["name"]) for c in content["categories"]]
    return EvaluationSet("recorded", known, images)


def random_set(seed=0, num_images=30, num_classes=4, max_objects=6):
    """Return a set of moved, doubled, misnamed and invented detections."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(num_images):
        count = int(rng.integers(0, max_objects + 1))
        corners = rng.integers(0, 200, (count, 2))
        boxes = np.concatenate([corners, corners + rng.integers(10, 120, (count, 2))], axis=1)
        classes = rng.integers(1, num_classes + 1, count)
        rows = np.repeat(np.arange(count), rng.integers(0, 4, count))
        moved = boxes[rows] + rng.integers(-12, 13, (len(rows), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        renamed = np.where(
            rng.random(len(rows)) < 0.2, rng.integers(1, num_classes + 1, len(rows)), classes[rows]
        )
        corners = rng.integers(0, 200, (int(rng.integers(0, 4)), 2))
        invented = np.concatenate([corners, corners + 40], axis=1)
        found = np.concatenate([moved, invented])
        named = np.concatenate([renamed, rng.integers(1, num_classes + 1, len(invented))])
        images.append(
            EvaluatedImage(
                f"image{number:03d}",
                make_groundtruth(boxes, classes, difficult=rng.random(count) < 0.15),
                make_detections(found, np.round(rng.random(len(found)), 2), named),
                height=320,
                width=320,
            )
        )
    return EvaluationSet(
        "random", categories(*(f"class {i}" for i in range(1, num_classes + 1))), images
    )


def feed(evaluator, images):
    """Add images to an evaluator of `evaluation`; return it."""
    feed_evaluator(evaluator, images)
    return evaluator
