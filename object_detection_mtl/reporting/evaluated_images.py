"""Images with ground truth and detections, the input of every report.

Boxes are [ymin, xmin, ymax, xmax] in pixels of the image. Classes are 1-based.
Shape letters: G ground-truth boxes and D detections of one image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from object_detection_mtl.config.errors import counted, listing
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.data import annotated_pixels, image_files
from object_detection_mtl.dataset_tools.annotated_images import DataError, require_pixels
from object_detection_mtl.evaluation.evaluator import ImageGroundtruth
from object_detection_mtl.inference.image_detections import ImageDetections

# Pixels. Products of greater sides would overflow.
_MAX_COORDINATE = 1e9
NO_DETECTIONS = ImageDetections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))


@dataclasses.dataclass(frozen=True)
class MainBranch:
    """Predictions of the main class head for each detection, before the refinement.

    Attributes:
        classes: [D] int64, the class with the greatest main score.
        scores: [D], that score.
    """

    classes: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class DetectedObjects:
    """Content of a detection file for one image.

    Attributes:
        detections: detected objects.
        main_branch: for a model with refinement.
    """

    detections: ImageDetections
    main_branch: MainBranch | None = None

    def rows(self, chosen: np.ndarray) -> DetectedObjects:
        """Return some of the rows; `chosen` is a mask [D]."""
        branch = self.main_branch
        if branch is not None:
            branch = MainBranch(branch.classes[chosen], branch.scores[chosen])
        return DetectedObjects(self.detections.rows(chosen), branch)


@dataclasses.dataclass(frozen=True)
class EvaluatedImage:
    """One image.

    Attributes:
        image_id: unique name.
        groundtruth: annotated objects.
        detections: detected objects; none until `with_detections` adds them.
        height, width: pixels; None where unknown.
        read_bytes: function that returns the encoded image; None without an image file.
        main_branch: for a model with refinement.
        aliases: further names of the image in detection files.
        is_file: `read_bytes` reads the file that was annotated, not its copy in a record; its EXIF
            orientation may apply.
    """

    image_id: str
    groundtruth: ImageGroundtruth
    detections: ImageDetections = NO_DETECTIONS
    height: int | None = None
    width: int | None = None
    read_bytes: Callable[[], bytes] | None = None
    main_branch: MainBranch | None = None
    aliases: tuple[str, ...] = ()
    is_file: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width, or None."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def decode(self) -> np.ndarray:
        """Return the pixels to which the annotation refers, [H, W, 3] uint8.

        Raises:
            ImageError, OSError: the image cannot be read.
        """
        assert self.read_bytes is not None
        data = self.read_bytes()
        if self.is_file:
            return annotated_pixels.decode_annotated(data, self.size)
        return image_files.decode_image(data, apply_exif_orientation=False)


@dataclasses.dataclass(frozen=True)
class EvaluationSet:
    """The images of one evaluation.

    Attributes:
        name: name of the detector, for titles.
        categories: the classes.
        images: each image once.
        notes: sentences about skipped or unusual data.
        category_numbers: category number of a COCO file -> class number; None where they are equal.
        numbered_by_name: the class numbers are not those of a file, but the alphabetical order of
            the class names.
    """

    name: str
    categories: Sequence[Category]
    images: Sequence[EvaluatedImage]
    notes: tuple[str, ...] = ()
    category_numbers: Mapping[int, int] | None = None
    numbered_by_name: bool = False

    def note_on_class_numbers(self) -> tuple[str, ...]:
        """Return a sentence for detections with class numbers if the numbers are assumed."""
        if not self.numbered_by_name:
            return ()
        names = listing([f"{category.id} {category.name}" for category in self.categories], 6)
        return (
            f"The ground truth has class names and no numbers; assumed {names}. Other numbers: "
            "--label_map_path.",
        )


def make_groundtruth(
    boxes: Sequence[Sequence[float]] | np.ndarray,
    classes: Sequence[int],
    *,
    difficult: Sequence[bool] | None = None,
    is_crowd: Sequence[bool] | None = None,
    group_of: Sequence[bool] | None = None,
    area: Sequence[float] | None = None,
) -> ImageGroundtruth:
    """Return the ground truth of one image from lists; absent flags are False, areas 0."""
    count = len(classes)

    def flags(values: Sequence[bool] | None) -> np.ndarray:
        return np.zeros(count, bool) if values is None else np.asarray(values, bool).reshape(count)

    return ImageGroundtruth(
        boxes=np.asarray(boxes, np.float64).reshape(count, 4),
        classes=np.asarray(classes, np.int64).reshape(count),
        difficult=flags(difficult),
        is_crowd=flags(is_crowd),
        group_of=flags(group_of),
        area=np.zeros(count) if area is None else np.asarray(area, np.float64).reshape(count),
    )


def make_detections(
    boxes: Sequence[Sequence[float]] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    classes: Sequence[int] | np.ndarray,
) -> ImageDetections:
    """Return the detections of one image from lists."""
    count = len(classes)
    return ImageDetections(
        np.asarray(boxes, np.float64).reshape(count, 4),
        np.asarray(scores, np.float64).reshape(count),
        np.asarray(classes, np.int64).reshape(count),
    )


def owners_of_names(images: Sequence[EvaluatedImage]) -> dict[str, str | None]:
    """Return image id or alias -> image id; None for an alias of two images."""
    owners: dict[str, str | None] = {}
    for image in images:
        for alias in image.aliases:
            is_free = owners.get(alias, image.image_id) == image.image_id
            owners[alias] = image.image_id if is_free else None
    return owners | {image.image_id: image.image_id for image in images}


def with_detections(
    groundtruth: EvaluationSet,
    detected: Mapping[str, DetectedObjects],
    name: str,
    *,
    skip_unknown: bool = False,
    source: str = "the detections",
) -> EvaluationSet:
    """Return the images of `groundtruth` with detections.

    Args:
        groundtruth: images without detections.
        detected: image id (or alias) -> detections; other images have none.
        name: name of the detector.
        skip_unknown: skip and count detections of unknown images and classes.
        source: name of the detections in error messages.

    Raises:
        ValueError: detections of an image or a class that `groundtruth` lacks, two entries of one
            image, or values that are not finite.
    """
    by_image, unknown = _resolve_images(groundtruth.images, detected, source)
    notes = list(groundtruth.notes)
    if unknown:
        count = sum(len(detected[key].detections.scores) for key in unknown)
        what = (
            f"{counted(count, 'detection')} of {counted(len(unknown), 'image')} that the ground "
            "truth lacks"
        )
        if not skip_unknown:
            raise ValueError(
                f"{source}: {what}: {listing(unknown, 4)}; the ground truth has "
                f"{listing([image.image_id for image in groundtruth.images], 2)}. Give the "
                "ground truth of the detections; --skip_unknown skips these detections"
            )
        if not by_image:
            raise ValueError(
                f"{source}: all {what}: {listing(unknown, 4)}; the ground truth has "
                f"{listing([image.image_id for image in groundtruth.images], 2)}. Give the ground "
                "truth of these images"
            )
        notes.append(f"Skipped {what}.")
    by_image, count = _known_classes(groundtruth.categories, by_image, skip_unknown, source)
    if count:
        notes.append(
            f"Skipped {counted(count, 'detection')} of classes that the ground truth lacks."
        )
    _require_pixels(by_image, source)
    nothing = DetectedObjects(NO_DETECTIONS)
    images = []
    for image in groundtruth.images:
        found = by_image.get(image.image_id, nothing)
        images.append(
            dataclasses.replace(image, detections=found.detections, main_branch=found.main_branch)
        )
    notes += _unusual_detections(images)
    return dataclasses.replace(groundtruth, name=name, images=images, notes=tuple(notes))


def _resolve_images(
    images: Sequence[EvaluatedImage], detected: Mapping[str, DetectedObjects], source: str
) -> tuple[dict[str, DetectedObjects], list[str]]:
    """Return detections by image id, and the names that no image has."""
    owners = owners_of_names(images)
    by_image: dict[str, DetectedObjects] = {}
    unknown = []
    for key, found in detected.items():
        owner = owners.get(key)
        if owner is None:
            unknown.append(key)
        elif owner in by_image:
            raise ValueError(
                f"{source}: two entries belong to image {owner!r}; expected one for each"
            )
        else:
            _check_finite(key, found.detections, source)
            by_image[owner] = found
    return by_image, unknown


def _check_finite(image_id: str, found: ImageDetections, source: str) -> None:
    bad = np.flatnonzero(~np.isfinite(found.scores))
    if len(bad):
        raise ValueError(
            f"{source}: image {image_id!r}, detection {bad[0]}: the score is "
            f"{found.scores[bad[0]]}, expected a finite number"
        )
    bad = np.flatnonzero(~(np.abs(found.boxes) <= _MAX_COORDINATE).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{source}: image {image_id!r}, detection {bad[0]}: the box is "
            f"{found.boxes[bad[0]].tolist()}, expected pixels, finite numbers"
        )


def _known_classes(
    categories: Sequence[Category],
    by_image: Mapping[str, DetectedObjects],
    skip_unknown: bool,
    source: str,
) -> tuple[dict[str, DetectedObjects], int]:
    """Return the detections of known classes, and how many others there are."""
    ids = [category.id for category in categories]
    kept = {}
    skipped = 0
    for key, found in by_image.items():
        classes = found.detections.classes
        known = np.isin(classes, ids)
        if not known.all() and not skip_unknown:
            raise ValueError(
                f"{source}: image {key!r}: class {classes[~known][0]} is not one of the "
                f"{len(ids)} classes ({listing(ids, 6)}). Give the label map of the "
                "detections, --label_map_path; --skip_unknown skips these detections"
            )
        skipped += int(np.count_nonzero(~known))
        kept[key] = found.rows(known)
    return kept, skipped


def _require_pixels(by_image: Mapping[str, DetectedObjects], source: str) -> None:
    """Raise an error if all boxes look like fractions of their images."""
    boxes = [found.detections.boxes for found in by_image.values()]
    if all(item.max(initial=0.0) <= 1 for item in boxes):
        require_pixels([box for item in boxes for box in item.tolist()], source, DataError)


def _unusual_detections(images: Sequence[EvaluatedImage]) -> list[str]:
    """Return notes on detections with unusual boxes or scores."""
    empty = outside = scores = 0
    for image in images:
        found = image.detections
        scores += int(np.count_nonzero((found.scores < 0) | (found.scores > 1)))
        empty += int(np.count_nonzero(empty_boxes(found.boxes)))
        if image.height and image.width:
            limits = np.array([image.height, image.width, image.height, image.width]) + 1.0
            outside += int(np.count_nonzero(((found.boxes < -1) | (found.boxes > limits)).any(1)))
    notes = []
    if empty:
        verb = "has" if empty == 1 else "have"
        notes.append(
            f"{counted(empty, 'detection')} {verb} an empty box; only COCO metrics count "
            f"{'it' if empty == 1 else 'them'}."
        )
    if outside:
        notes.append(
            f"The boxes of {counted(outside, 'detection')} of "
            f"{sum(len(image.detections.scores) for image in images)} extend outside of their "
            "image; they are not clipped."
        )
    if scores:
        notes.append(
            f"The scores of {counted(scores, 'detection')} are below 0 or above 1; curves over the "
            "score, thresholds and calibration expect 0 to 1."
        )
    return notes


def empty_boxes(boxes: np.ndarray) -> np.ndarray:
    """Return which of `boxes` [N, 4] have no positive area, [N] bool."""
    return ~np.all(boxes[:, :2] < boxes[:, 2:], axis=1)
