"""COCO instances files: images, objects, categories.

    {"images":      [{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}, ...],
     "annotations": [{"image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "area": 702.1, "iscrowd": 0}, ...],
     "categories":  [{"id": 18, "name": "dog"}, ...]}

Coordinates are pixels, (x, y) upper left; they may be fractions. Other keys are ignored. Without
"annotations" (COCO publishes such files for its test images) no image has an object.

Files may come from untrusted sources. Loads neither TensorFlow nor images.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from object_detection_mtl.dataset_tools.annotated_images import DataError, list_names, raise_errors

# The largest category number that is used as a class number. A model has an output for every number
# up to the largest, used or not.
HIGHEST_ID = 1000

_LARGEST = 2.0**53


class CocoError(DataError):
    """A COCO instances file is invalid; the message names the file and the place."""


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """One annotation. Coordinates are those of the file: pixels, possibly outside the image."""

    category: str
    x: float
    y: float
    width: float
    height: float
    area: float
    is_crowd: bool


@dataclasses.dataclass(frozen=True)
class CocoImage:
    """One image. `height` and `width` are None if the file does not state them."""

    id: int | str
    file_name: str
    height: int | None
    width: int | None
    objects: tuple[CocoObject, ...]


@dataclasses.dataclass(frozen=True)
class CocoFile:
    """The content of a COCO instances file.

    Attributes:
        path: the file.
        categories: name -> number, in the order of the numbers.
        images: in the order of the file, those without annotations included.
        num_unlisted: number of annotations of images that the file does not list.
    """

    path: Path
    categories: dict[str, int]
    images: tuple[CocoImage, ...]
    num_unlisted: int


def read_coco_file(path: str | Path) -> CocoFile:
    """Read a COCO instances file.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        CocoError: the file is not JSON or not a COCO instances file, or it has invalid annotations;
            the message names the first of them.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a directory, expected a .json file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"--annotations_file: {str(path)!r} {what}")
    content = _load(path)
    categories = _categories(content["categories"], path)
    names = {number: name for name, number in categories.items()}
    objects: dict[int | str, list[CocoObject]] = collections.defaultdict(list)
    errors = []
    for position, item in enumerate(content.get("annotations", ())):
        try:
            objects[_id(item, "image_id")].append(_object(item, names))
        except CocoError as error:
            errors.append(f"{path}: annotations[{position}]{_named(item)}: {error}")
    images = []
    for position, item in enumerate(content["images"]):
        try:
            image = _image(item)
            images.append(dataclasses.replace(image, objects=tuple(objects.pop(image.id, ()))))
        except CocoError as error:
            errors.append(f"{path}: images[{position}]{_named(item)}: {error}")
    raise_errors(errors, CocoError)
    _refuse_duplicates([image.id for image in images], "images", "id", path)
    return CocoFile(path, categories, tuple(images), sum(map(len, objects.values())))


def _load(path: Path) -> dict[str, Any]:
    """Return the content of the file; its top-level keys are checked."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            # Segmentations are most of a file and are not used.
            content = json.load(file, object_pairs_hook=_drop_segmentation)
    except (ValueError, RecursionError) as error:  # JSON, encoding, numbers of too many digits
        raise CocoError(f"{path} is not valid JSON (truncated?): {error}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        hint = "; a list of detections cannot be converted" if kind == "list" else ""
        raise CocoError(
            f"{path} contains a {kind}, expected an object with images and categories{hint}"
        )
    for key in ("images", "annotations", "categories"):
        if key == "annotations" and key not in content:
            continue
        if not isinstance(content.get(key), list):
            raise CocoError(
                f"{path} is not a COCO instances file: it has no list {key!r}; its keys are "
                f"{list_names(list(content)) or 'none'}"
            )
    if not content["images"]:
        raise CocoError(f"{path}: the list of images is empty")
    return content


def _drop_segmentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if key != "segmentation"}


def _categories(items: list, path: Path) -> dict[str, int]:
    numbers: list[tuple[int, str]] = []
    for position, item in enumerate(items):
        name, number = _of(item, "name"), _of(item, "id")
        if not isinstance(name, str) or not name.strip() or not _is_integer(number):
            raise CocoError(
                f"{path}: categories[{position}] is {_shortened(item)}, expected a name and an id "
                "that is an integer"
            )
        numbers.append((int(number), name.strip()))
    if not numbers:
        raise CocoError(f"{path}: the list of categories is empty")
    _refuse_duplicates([number for number, _ in numbers], "categories", "id", path)
    _refuse_duplicates([name for _, name in numbers], "categories", "name", path)
    return {name: number for number, name in sorted(numbers)}


def _object(item: Any, names: dict[int, str]) -> CocoObject:
    if "bbox" not in item:
        raise CocoError("it has no bbox; expected a COCO instances file, not captions or panoptic")
    box = item["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise CocoError(f"bbox is {_shortened(box)}, expected four numbers x, y, width, height")
    category = item.get("category_id")
    if not _is_integer(category) or category not in names:
        raise CocoError(
            f"category_id is {_shortened(category)}, which is not the id of a category "
            f"({list_names([str(number) for number in names])})"
        )
    crowd = item.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise CocoError(f"iscrowd is {_shortened(crowd)}, expected 0 or 1")
    x, y, width, height = map(float, box)
    area = item.get("area")
    area = max(width, 0.0) * max(height, 0.0) if area is None else area
    if not _is_number(area) or area < 0:
        raise CocoError(f"area is {_shortened(area)}, expected a number of square pixels")
    return CocoObject(names[category], x, y, width, height, float(area), bool(crowd))


def _image(item: Any) -> CocoImage:
    number = _id(item, "id")
    file_name = item.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        raise CocoError(f"file_name is {_shortened(file_name)}, expected the name of an image")
    sides = [item.get(key) for key in ("height", "width")]
    for side in sides:
        if side is not None and not (_is_number(side) and side >= 0):
            raise CocoError(f"height and width are {_shortened(sides)}, expected pixels")
    height, width = (int(side) if side and side >= 1 else None for side in sides)
    return CocoImage(number, file_name.strip(), height, width, ())


def _id(item: Any, key: str) -> int | str:
    if not isinstance(item, dict):
        raise CocoError(f"it is {_shortened(item)}, expected an object")
    value: Any = item.get(key)
    if isinstance(value, str) and value:
        return value
    if not _is_integer(value):
        raise CocoError(f"{key} is {_shortened(value)}, expected an integer")
    return int(value)


def _is_number(value: Any) -> bool:
    """Return whether the value is a finite number; Python reads NaN and infinity in JSON."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -_LARGEST <= value <= _LARGEST


def _is_integer(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_duplicates(values: Iterable[Any], where: str, key: str, path: Path) -> None:
    twice = [str(value) for value, count in collections.Counter(values).items() if count > 1]
    if twice:
        raise CocoError(f"{path}: {where} have the same {key} more than once: {list_names(twice)}")


def _of(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _named(item: Any) -> str:
    return f" (id {_shortened(item['id'])})" if isinstance(item, dict) and "id" in item else ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def class_numbers(file: CocoFile) -> dict[str, int]:
    """Return class name -> number for a label map of the file.

    The numbers are the category numbers, gaps included, as in the OD API; if one of them is below 1
    or above HIGHEST_ID, they are 1, 2, 3... in the order of the category numbers.
    """
    if ids_are_class_numbers(file):
        return dict(file.categories)
    return {name: position for position, name in enumerate(file.categories, start=1)}


def ids_are_class_numbers(file: CocoFile) -> bool:
    """Return whether the category numbers can be used as class numbers."""
    numbers = file.categories.values()
    return min(numbers) >= 1 and max(numbers) <= HIGHEST_ID


def find_image(image_dir: Path, file_name: str) -> Path | None:
    """Return the path of an image, or None if it is missing.

    The whole name below the directory is searched first, then its last component. Nothing outside
    the directory is read.
    """
    name = PurePosixPath(file_name.replace("\\", "/"))
    candidates = [] if name.is_absolute() or ".." in name.parts else [image_dir / name]
    for path in (*candidates, image_dir / name.name):
        if path.is_file():
            return path
    return None
