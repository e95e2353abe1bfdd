"""Images of a page: a thumbnail, boxes over it, and a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.error_analysis import FALSE_NEGATIVE, TRUE_POSITIVE
from object_detection_mtl.reporting import mistakes
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage
from object_detection_mtl.reporting.object_matching import MatchTable
from object_detection_mtl.reporting.refinement_changes import (
    BACKGROUND_CLASS,
    RefinedDetection,
)
from object_detection_mtl.reporting.thumbnails import Thumbnail, ThumbnailMaker


@dataclass(frozen=True)
class BoxView:
    """A box over an image; pixels of the original.

    Attributes:
        kind: style of the box: truth, found, wrong or missed; with "chosen" the missed object that
            the image is about.
        label: text at the box.
    """

    kind: str
    x: str
    y: str
    width: str
    height: str
    label: str


@dataclass(frozen=True)
class ImageView:
    """View of an image or region on a page."""

    thumbnail: Thumbnail
    boxes: list[BoxView]
    caption: list[str]
    alt: str


def box_view(kind: str, box: np.ndarray, label: str) -> BoxView:
    """Return the box [4] with its style."""
    ymin, xmin, ymax, xmax = (float(side) for side in box)
    width, height = max(xmax - xmin, 0.0), max(ymax - ymin, 0.0)
    return BoxView(kind, f"{xmin:.1f}", f"{ymin:.1f}", f"{width:.1f}", f"{height:.1f}", label)


class ViewMaker:
    """Factory of the views of one report."""

    def __init__(
        self,
        images: Sequence[EvaluatedImage],
        table: MatchTable,
        names: Mapping[int, str],
        min_score: float,
    ) -> None:
        """Prepare the rows of every image.

        Args:
            images: images of the report.
            table: their matches.
            names: class number -> name.
            min_score: minimum score of the detections shown.
        """
        self._images = images
        self._table = table
        self._names = names
        self._min_score = min_score
        self._thumbnails = ThumbnailMaker()
        self._found_scores = table.found_scores()
        numbers = np.arange(len(images) + 1)
        self._starts = np.searchsorted(table.image, numbers)
        self._object_starts = np.searchsorted(table.object_image, numbers)

    def whole_image(self, number: int) -> ImageView:
        """Return an image with its objects and detections."""
        item = self._images[number]
        counts = mistakes.kinds_of_image(self._table, number, self._min_score)
        caption = [item.image_id]
        caption += mistakes.describe_kinds(counts)
        alt = f"image {item.image_id} with ground truth and detections"
        return ImageView(
            self._thumbnails.of_image(item),
            self._object_boxes(number) + self._detection_boxes(number),
            caption,
            alt,
        )

    def mistake(self, found: mistakes.Mistake) -> ImageView:
        """Return the surroundings of a mistake with the objects near it."""
        item = self._images[found.image]
        name = self._names[found.class_id]
        is_missed = found.kind == FALSE_NEGATIVE
        title = name if is_missed else f"{name} {found.score:.2f}"
        boxes = self._object_boxes(found.image)
        nearest = self._overlapping(found)
        if is_missed:
            boxes += self._detection_boxes(found.image)
            boxes.append(box_view("missed chosen", found.box, f"{name}, missed"))
        else:
            boxes.append(box_view("wrong", found.box, title))
        caption = [title]
        truth = [self._names[int(self._table.object_classes[row])] for row in nearest]
        if truth and not is_missed:
            caption.append(f"ground truth: {', '.join(truth)}")
        caption.append(item.image_id)
        region = [found.box, *(self._table.object_boxes[row] for row in nearest)]
        return ImageView(
            self._thumbnails.of_region(item, region),
            boxes,
            caption,
            f"{mistakes.KIND_NAMES[found.kind]}: {title} in image {item.image_id}",
        )

    def refined(self, found: RefinedDetection) -> ImageView:
        """Return the surroundings of a detection that the refinement changed."""
        item = self._images[found.image]
        box = item.detections.boxes[found.row]
        true = "background"
        if found.true_class != BACKGROUND_CLASS:
            true = self._names[found.true_class]
        main = f"main: {self._names.get(found.main_class, '?')} {found.main_score:.2f}"
        refined = f"refined: {self._names[found.refined_class]} {found.refined_score:.2f}"
        boxes = [*self._object_boxes(found.image), box_view("wrong", box, refined)]
        return ImageView(
            self._thumbnails.of_region(item, [box]),
            boxes,
            [f"truth: {true}", main, refined, item.image_id],
            f"{main}, {refined}, truth: {true}",
        )

    def _overlapping(self, found: mistakes.Mistake) -> list[int]:
        """Return the object that the mistake overlaps most, if any."""
        rows = np.arange(self._object_starts[found.image], self._object_starts[found.image + 1])
        if not len(rows):
            return []
        overlap = box_overlaps.iou(found.box[np.newaxis], self._table.object_boxes[rows])[0]
        best = int(overlap.argmax())
        return [int(rows[best])] if overlap[best] > 0 else []

    def _object_boxes(self, number: int) -> list[BoxView]:
        table = self._table
        views = []
        rows = range(self._object_starts[number], self._object_starts[number + 1])
        found = self._found_scores[rows.start : rows.stop]
        for row, score in zip(rows, found, strict=True):
            name = self._names[int(table.object_classes[row])]
            kind = "missed" if table.counted[row] and score < self._min_score else "truth"
            label = f"{name}, missed" if kind == "missed" else name
            if not table.counted[row]:
                label = f"{name}, ignored"
            views.append(box_view(kind, table.object_boxes[row], label))
        return views

    def _detection_boxes(self, number: int) -> list[BoxView]:
        table = self._table
        views = []
        for row in range(self._starts[number], self._starts[number + 1]):
            if table.scores[row] < self._min_score or table.ignored[row]:
                continue
            kind = "found" if table.hits[row] else "wrong"
            name = self._names[int(table.classes[row])]
            views.append(box_view(kind, table.boxes[row], f"{name} {table.scores[row]:.2f}"))
        return views


def filter_words(table: MatchTable, number: int, min_score: float) -> tuple[str, str]:
    """Return the kinds and the classes of an image as words, for the filters of a page."""
    counts = mistakes.kinds_of_image(table, number, min_score)
    kinds = [kind for kind in counts if kind != TRUE_POSITIVE] or ["none"]
    rows = (table.image == number) & (table.scores >= min_score)
    classes = {*table.classes[rows].tolist()}
    classes |= {*table.object_classes[table.object_image == number].tolist()}
    return " ".join(kinds), " ".join(map(str, sorted(classes)))
