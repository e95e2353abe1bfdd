"""Base class of detection evaluators: categories, input checks, stored images.

Shape letters: G ground-truth boxes and D detections of one image (not padded), K classes.
Boxes are absolute: [ymin, xmin, ymax, xmax] in pixels of the original image. Classes are 1-based.
"""

import abc
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from object_detection_mtl.config.errors import printable
from object_detection_mtl.inference.image_detections import ImageDetections


class CategoryLike(Protocol):
    """A class of the label map, such as `config.label_map.Category`."""

    @property
    def id(self) -> int:
        """Return the id, from 1."""

    @property
    def name(self) -> str:
        """Return the name."""


@dataclass(frozen=True)
class ImageGroundtruth:
    """Annotated objects of one image."""

    boxes: np.ndarray  # [G, 4]
    classes: np.ndarray  # [G] int64
    difficult: np.ndarray  # [G] bool
    is_crowd: np.ndarray  # [G] bool
    group_of: np.ndarray  # [G] bool
    area: np.ndarray  # [G] square pixels of the object itself; 0 where unknown
    # [V] int64, classes that annotators looked for, besides `classes`
    image_classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def _floats(values: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return `values` as a finite float array of `shape`; -1 means any length."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    empty = tuple(0 if size == -1 else size for size in shape)
    if array.size == 0 and 0 in empty:  # [] equals an array of shape [0, 4]
        array = array.reshape(empty)
    if array.ndim != len(shape) or any(
        size not in (-1, actual) for size, actual in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("n" if size == -1 else str(size) for size in shape)
        raise ValueError(f"{what}: expected an array of shape [{wanted}], got {list(array.shape)}")
    if not np.all(np.isfinite(array)):
        bad = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{what}: the value at {bad.tolist()} is {array[tuple(bad)]}; all must be finite"
        )
    return array


def _flags(values: Any, length: int, what: str) -> np.ndarray:
    if values is None:
        return np.zeros(length, dtype=bool)
    array = np.asarray(values).astype(bool).reshape(-1)
    if len(array) != length:
        raise ValueError(f"{what}: expected {length} flags, one per box, got {len(array)}")
    return array


def names_by_id(categories: Sequence[CategoryLike]) -> dict[int, str]:
    """Return the reported name of each category by id: its display name, as in the OD API.

    Control characters are escaped. Categories with the same name get their ids appended, so that
    every metric has its own name.

    Raises:
        ValueError: there are no categories, or their ids are not unique or not positive.
    """
    if not categories:
        raise ValueError("categories: expected the classes of the label map, got none")
    names = {
        int(c.id): printable(str(getattr(c, "display_name", "") or c.name)) for c in categories
    }
    if len(names) != len(categories):
        raise ValueError(f"category ids must be unique, got {[c.id for c in categories]}")
    if min(names) < 1:
        raise ValueError(f"category ids must be at least 1 (0 is background), got {min(names)}")
    count = Counter(names.values())
    return {i: name if count[name] == 1 else f"{name} ({i})" for i, name in sorted(names.items())}


class DetectionEvaluator(abc.ABC):
    """Metrics of detections: add ground truth and detections per image, then `evaluate`.

    For every image call `add_groundtruth` (with no boxes for an image without objects), then
    `add_detections`; an image without `add_detections` counts as one without detections.

    Args:
        categories: the classes.
    """

    def __init__(self, categories: Sequence[CategoryLike]):
        self.names = names_by_id(categories)
        self._known_ids = np.array(sorted(self.names))
        self.clear()

    def clear(self) -> None:
        """Remove all images."""
        self._groundtruth: dict[Hashable, ImageGroundtruth] = {}
        self.clear_detections()

    def clear_detections(self) -> None:
        """Remove the detections of all images; the ground truth stays."""
        self._detections: dict[Hashable, ImageDetections] = {}

    def add_groundtruth(
        self,
        image_id: Hashable,
        boxes: Any,
        classes: Any,
        *,
        difficult: Any = None,
        is_crowd: Any = None,
        group_of: Any = None,
        area: Any = None,
        image_classes: Any = None,
    ) -> None:
        """Add the annotated objects of an image.

        Args:
            image_id: unique for each image.
            boxes: [G, 4] absolute pixels.
            classes: [G] category ids.
            difficult: [G] flags; None for all False.
            is_crowd: as `difficult`.
            group_of: as `difficult`.
            area: [G] square pixels of the objects (their masks, where known); None or a value <= 0
                means the area of the box.
            image_classes: [V] category ids that annotators looked for in the image, besides those
                of the objects; None: no other. Only Open Images' challenge metric reads them.

        Raises:
            ValueError: the image was already added, shapes disagree, a value is not finite, or a
                class is not a category.
        """
        if image_id in self._groundtruth:
            raise ValueError(f"image {image_id!r}: its ground truth was already added")
        where = f"image {image_id!r}, ground truth"
        boxes = _floats(boxes, (-1, 4), f"{where} boxes")
        length = len(boxes)
        area = np.zeros(length) if area is None else _floats(area, (length,), f"{where} area")
        self._groundtruth[image_id] = ImageGroundtruth(
            boxes=boxes,
            classes=self._groundtruth_classes(classes, length, where),
            difficult=_flags(difficult, length, f"{where} difficult"),
            is_crowd=_flags(is_crowd, length, f"{where} is_crowd"),
            group_of=_flags(group_of, length, f"{where} group_of"),
            area=area,
            image_classes=np.asarray([] if image_classes is None else image_classes, np.int64),
        )

    def add_detections(self, image_id: Hashable, boxes: Any, scores: Any, classes: Any) -> None:
        """Add the detections of an image.

        Detections of a class that is not a category (label maps may have gaps) are ignored, as in
        the OD API.

        Args:
            image_id: id of an image whose ground truth was added.
            boxes: [D, 4] absolute pixels.
            scores: [D].
            classes: [D] category ids (integers, or floats without fraction).

        Raises:
            ValueError: no ground truth was added, detections were already added, shapes disagree,
                or a value is not finite.
        """
        if image_id not in self._groundtruth:
            raise ValueError(
                f"image {image_id!r}: detections without ground truth. Call add_groundtruth first, "
                "with no boxes if the image has no object"
            )
        if image_id in self._detections:
            raise ValueError(f"image {image_id!r}: its detections were already added")
        where = f"image {image_id!r}, detection"
        boxes = _floats(boxes, (-1, 4), f"{where} boxes")
        scores = _floats(scores, (len(boxes),), f"{where} scores")
        numbers = _floats(classes, (len(boxes),), f"{where} classes").astype(np.int64)
        known = np.isin(numbers, self._known_ids)
        self._detections[image_id] = ImageDetections(boxes, scores, numbers).rows(known)

    @abc.abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return the metrics of all images added so far, by name; may be called repeatedly."""

    @property
    def num_images(self) -> int:
        """Return the number of images added so far."""
        return len(self._groundtruth)

    def _images(self) -> list[tuple[ImageGroundtruth, ImageDetections]]:
        none = ImageDetections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
        return [(gt, self._detections.get(key, none)) for key, gt in self._groundtruth.items()]

    def _groundtruth_classes(self, classes: Any, length: int, where: str) -> np.ndarray:
        numbers = _floats(classes, (length,), f"{where} classes").astype(np.int64)
        unknown = numbers[~np.isin(numbers, self._known_ids)]
        if unknown.size:
            raise ValueError(
                f"{where}: class {unknown[0]} is not one of the {len(self.names)} categories "
                f"(ids {self._known_ids[0]} to {self._known_ids[-1]}). Use the label map that the "
                "records were made with"
            )
        return numbers
