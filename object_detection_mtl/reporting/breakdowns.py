"""Average precision and recall by size, aspect ratio, objects and classes of an image.

Shape letters: N detections and M objects of all images, I images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.reporting.object_matching import NOTHING, MatchTable
from object_detection_mtl.reporting.score_curves import make_curve

SIZE_LABELS = ("small", "medium", "large")
# COCO's bounds of the area in square pixels.
SIZE_BOUNDS = (32.0**2, 96.0**2)
ASPECT_LABELS = ("tall", "square", "wide")
# Width divided by height; TIDE's bounds.
ASPECT_BOUNDS = (0.75, 1.33)
OBJECT_COUNTS = {"1": (1, 1), "2": (2, 2), "3-5": (3, 5), "6-10": (6, 10), "11+": (11, None)}
CLASS_COUNTS = {"1": (1, 1), "2": (2, 2), "3": (3, 3), "4+": (4, None)}


@dataclass(frozen=True)
class BreakdownRow:
    """One group of objects or images.

    Attributes:
        label: label of the group.
        num_images: number of images with an object of the group.
        num_objects: number of counted objects of the group.
        mean_ap: mean AP at the table's IoU over the classes with objects in the group; NaN without
            one.
        recall: recall at the minimum score, all classes together; NaN without
            objects.
    """

    label: str
    num_images: int
    num_objects: int
    mean_ap: float
    recall: float


def sizes(areas: np.ndarray) -> np.ndarray:
    """Return the index into SIZE_LABELS of each area; a bound belongs to the larger size."""
    return np.searchsorted(SIZE_BOUNDS, areas, side="right")


def aspects(boxes: np.ndarray) -> np.ndarray:
    """Return the index into ASPECT_LABELS of each box; a bound belongs to the narrower aspect."""
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    ratios = np.divide(widths, heights, out=np.full(len(boxes), np.inf), where=heights > 0)
    return np.searchsorted(ASPECT_BOUNDS, ratios, side="left")


def by_size(table: MatchTable, class_ids: Sequence[int], min_score: float) -> list[BreakdownRow]:
    """Return a row for each of SIZE_LABELS; objects by annotated area, detections by box area."""
    groups = sizes(table.object_areas), sizes(box_overlaps.area(table.boxes))
    return _by_object(table, class_ids, min_score, SIZE_LABELS, *groups)


def by_aspect(table: MatchTable, class_ids: Sequence[int], min_score: float) -> list[BreakdownRow]:
    """Return a row for each of ASPECT_LABELS."""
    groups = aspects(table.object_boxes), aspects(table.boxes)
    return _by_object(table, class_ids, min_score, ASPECT_LABELS, *groups)


def by_object_count(
    table: MatchTable, class_ids: Sequence[int], min_score: float, num_images: int
) -> list[BreakdownRow]:
    """Return a row for each range of the number of counted objects in an image."""
    counts = np.bincount(table.object_image[table.counted], minlength=num_images)
    return _by_image(table, class_ids, min_score, OBJECT_COUNTS, counts)


def by_class_count(
    table: MatchTable, class_ids: Sequence[int], min_score: float, num_images: int
) -> list[BreakdownRow]:
    """Return a row for each range of the number of classes of counted objects in an image."""
    pairs = np.stack([table.object_image, table.object_classes], axis=1)[table.counted]
    counts = np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=num_images)
    return _by_image(table, class_ids, min_score, CLASS_COUNTS, counts)


def _by_object(
    table: MatchTable,
    class_ids: Sequence[int],
    min_score: float,
    labels: Sequence[str],
    object_groups: np.ndarray,
    detection_groups: np.ndarray,
) -> list[BreakdownRow]:
    """Return a row per group.

    As in COCO, true positives of objects of other groups are ignored, and false positives whose own
    box belongs to another group.
    """
    # A true positive belongs to the group of its object.
    groups = np.where(
        table.matched == NOTHING,
        detection_groups,
        np.append(object_groups, NOTHING)[table.matched],
    )
    return [
        _row(table, class_ids, min_score, label, object_groups == index, groups == index)
        for index, label in enumerate(labels)
    ]


def _by_image(
    table: MatchTable,
    class_ids: Sequence[int],
    min_score: float,
    ranges: dict[str, tuple[int, int | None]],
    counts: np.ndarray,
) -> list[BreakdownRow]:
    rows = []
    for label, (low, high) in ranges.items():
        chosen = (counts >= low) & (counts <= (high or np.inf))
        rows.append(
            _row(
                table, class_ids, min_score, label, chosen[table.object_image], chosen[table.image]
            )
        )
    return rows


def _row(
    table: MatchTable,
    class_ids: Sequence[int],
    min_score: float,
    label: str,
    objects: np.ndarray,
    detections: np.ndarray,
) -> BreakdownRow:
    objects = objects & table.counted
    detections = detections & ~table.ignored
    precisions = []
    for class_id in class_ids:
        num_objects = int(np.count_nonzero(objects & (table.object_classes == class_id)))
        if num_objects:
            rows = detections & (table.classes == class_id)
            curve = make_curve(table.scores[rows], table.hits[rows], num_objects)
            precisions.append(curve.average_precision)
    total = int(np.count_nonzero(objects))
    found = int(np.count_nonzero(table.found_scores()[objects] >= min_score))
    return BreakdownRow(
        label=label,
        num_images=len(np.unique(table.object_image[objects])),
        num_objects=total,
        mean_ap=float(np.mean(precisions)) if precisions else float("nan"),
        recall=found / total if total else float("nan"),
    )
