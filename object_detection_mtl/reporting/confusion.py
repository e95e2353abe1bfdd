"""Confusion matrix of classes with background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage
from object_detection_mtl.reporting.object_matching import NOTHING, MatchTable


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of objects and detections by true and detected class.

    Attributes:
        class_ids: K class numbers, in the order of rows and columns.
        counts: [K + 1, K + 1] int64; rows are true classes, columns detected ones, the last of
            both is background: objects that nothing found, detections without object.
    """

    class_ids: tuple[int, ...]
    counts: np.ndarray


def confusion_matrix(
    images: Sequence[EvaluatedImage],
    table: MatchTable,
    class_ids: Sequence[int],
    min_score: float = 0.5,
) -> ConfusionMatrix:
    """Return the matrix of the detections with at least `min_score`.

    True positives are counted first. Then the remaining detections and objects are matched one to
    one, greatest IoU first, down to the table's threshold.
    """
    position = {class_id: index for index, class_id in enumerate(class_ids)}
    background = len(position)
    counts = np.zeros((background + 1, background + 1), np.int64)

    def index_of(classes: np.ndarray) -> np.ndarray:
        return np.array([position[int(value)] for value in classes], np.int64)

    kept = (table.scores >= min_score) & ~table.ignored
    hits = kept & table.hits
    diagonal = index_of(table.classes[hits])
    np.add.at(counts, (diagonal, diagonal), 1)
    found = (table.found_by != NOTHING) & (table.found_scores() >= min_score)
    detection_starts = np.searchsorted(table.image, np.arange(len(images) + 1))
    object_starts = np.searchsorted(table.object_image, np.arange(len(images) + 1))
    for number in range(len(images)):
        chosen = slice(detection_starts[number], detection_starts[number + 1])
        rows = np.flatnonzero(kept[chosen] & ~hits[chosen]) + chosen.start
        chosen = slice(object_starts[number], object_starts[number + 1])
        objects = np.flatnonzero(table.counted[chosen] & ~found[chosen]) + chosen.start
        pairs = _pairs(table.boxes[rows], table.object_boxes[objects], table.iou_threshold)
        detected, true = index_of(table.classes[rows]), index_of(table.object_classes[objects])
        for row, column in pairs:
            counts[true[column], detected[row]] += 1
        taken_rows = [row for row, _ in pairs]
        taken_objects = [column for _, column in pairs]
        size = background + 1
        counts[background] += np.bincount(np.delete(detected, taken_rows), minlength=size)
        counts[:, background] += np.bincount(np.delete(true, taken_objects), minlength=size)
    return ConfusionMatrix(tuple(class_ids), counts)


def _pairs(boxes: np.ndarray, others: np.ndarray, iou_threshold: float) -> list[tuple[int, int]]:
    """Return one-to-one pairs of rows, greatest IoU first."""
    overlap = box_overlaps.iou(boxes, others)
    rows, columns = np.nonzero(overlap >= iou_threshold)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    free_rows, free_columns = set(rows.tolist()), set(columns.tolist())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row in free_rows and column in free_columns:
            pairs.append((row, column))
            free_rows.remove(row)
            free_columns.remove(column)
    return pairs


def most_confused(matrix: ConfusionMatrix, limit: int = 10) -> list[tuple[int, int, int]]:
    """Return (true class, detected class, count), most frequent first, without background."""
    counts = matrix.counts[:-1, :-1].copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, counts.shape)
    return [
        (matrix.class_ids[row], matrix.class_ids[column], int(counts[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if counts[row, column]
    ]
