"""Matched detections and objects of all images, as flat arrays.

The matching is that of `evaluation.error_analysis`: a detection belongs to the object of its class
that it overlaps most; if the IoU reaches the threshold, the detection with the highest score finds
the object. Difficult objects, crowds and groups are ignored.

Shape letters: N detections of all images, M objects of all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.error_analysis import KINDS, TRUE_POSITIVE, classify_errors
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage, empty_boxes

FOUND = KINDS.index(TRUE_POSITIVE)
IGNORED = -1
NOTHING = -1


@dataclass(frozen=True)
class MatchTable:
    """Detections and objects with their matches.

    Attributes:
        iou_threshold: minimum IoU of a detection with the object that it finds.
        image: [N] index of the image.
        row: [N] index of the detection in its image.
        scores, classes: [N].
        boxes: [N, 4].
        kinds: [N] index into `error_analysis.KINDS`, or IGNORED.
        matched: [N] index of the object that a true positive found, else NOTHING.
        object_image, object_row, object_classes: [M].
        object_boxes: [M, 4].
        object_areas: [M] square pixels.
        counted: [M] bool, neither difficult, nor crowd, nor group.
        found_by: [M] index of the true positive, else NOTHING.
    """

    iou_threshold: float
    image: np.ndarray
    row: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    kinds: np.ndarray
    matched: np.ndarray
    object_image: np.ndarray
    object_row: np.ndarray
    object_classes: np.ndarray
    object_boxes: np.ndarray
    object_areas: np.ndarray
    counted: np.ndarray
    found_by: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """[N] bool, true positives."""
        return self.kinds == FOUND

    @property
    def ignored(self) -> np.ndarray:
        """[N] bool, detections that are neither right nor wrong."""
        return self.kinds == IGNORED

    def found_scores(self) -> np.ndarray:
        """Return the score [M] with which each object was found; -inf where it was not."""
        scores = np.append(self.scores, -np.inf)
        return scores[self.found_by]


def match_images(images: Sequence[EvaluatedImage], iou_threshold: float = 0.5) -> MatchTable:
    """Return the matches of all images."""
    detections: list[tuple[np.ndarray, ...]] = []
    objects: list[tuple[np.ndarray, ...]] = []
    num_detections = num_objects = 0
    for number, image in enumerate(images):
        kinds, hits, own = _match_image(image, iou_threshold)
        truth, found = image.groundtruth, image.detections
        matched = np.full(len(kinds), NOTHING)
        matched[hits] = own + num_objects
        found_by = np.full(len(truth.classes), NOTHING)
        found_by[own] = hits + num_detections
        rows = np.arange(len(kinds))
        detections.append(
            (np.full(len(kinds), number), rows, found.scores, found.classes, found.boxes)
            + (kinds, matched)
        )
        rows = np.arange(len(truth.classes))
        counted = ~(truth.difficult | truth.is_crowd | truth.group_of)
        areas = np.where(truth.area > 0, truth.area, box_overlaps.area(truth.boxes))
        objects.append(
            (np.full(len(rows), number), rows, truth.classes, truth.boxes, areas, counted, found_by)
        )
        num_detections += len(kinds)
        num_objects += len(rows)
    return MatchTable(
        iou_threshold,
        *_joined(detections, (int, int, float, int, (float, 4), int, int)),
        *_joined(objects, (int, int, int, (float, 4), float, bool, int)),
    )


def _match_image(
    image: EvaluatedImage, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the kinds [D], the rows of true positives, and the object that each of them found."""
    truth, found = image.groundtruth, image.detections
    nothing = np.zeros(0, np.int64)
    if not len(found.scores):
        return nothing, nothing, nothing
    kinds, _ = classify_errors(
        truth,
        found,
        matching_iou_threshold=iou_threshold,
        background_iou_threshold=min(0.1, iou_threshold),
    )
    kinds[empty_boxes(found.boxes)] = IGNORED
    hits = np.flatnonzero(kinds == FOUND)
    if not len(hits):
        return kinds, nothing, nothing
    overlap = box_overlaps.iou(found.boxes[hits], truth.boxes)
    same_class = found.classes[hits, np.newaxis] == truth.classes
    return kinds, hits, np.argmax(np.where(same_class, overlap, 0.0), axis=1)


def _joined(parts: list[tuple[np.ndarray, ...]], kinds: tuple) -> list[np.ndarray]:
    """Return each column of all images as one array."""
    columns = []
    for position, kind in enumerate(kinds):
        dtype, shape = (kind[0], (0, kind[1])) if isinstance(kind, tuple) else (kind, (0,))
        values = [part[position] for part in parts]
        columns.append(np.concatenate([np.zeros(shape, dtype), *values]).astype(dtype))
    return columns
