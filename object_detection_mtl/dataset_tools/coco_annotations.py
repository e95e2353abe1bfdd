"""COCO instances files: which pictures, which objects.

    {"images":      [{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}, ...],
     "annotations": [{"image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "area": 702.1, "iscrowd": 0}, ...],
     "categories":  [{"id": 18, "name": "dog"}, ...]}

Coordinates are pixels, (x, y) upper left; they may be fractions. Other keys are not looked at.
Without "annotations" (COCO publishes such files for its test pictures) no picture has an object.

This module reads files from strangers and loads neither TensorFlow nor pictures.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from object_detection_mtl.dataset_tools.annotated_images import DataError, raise_all, some

# Category numbers of a file serve as class numbers up to here. A model has an output for every
# number, used or not.
HIGHEST_ID = 1000

_LARGEST = 2.0**53


class CocoError(DataError):
    """A file that is no COCO instances file, or a wrong one; the message names file and place."""


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """One annotation. Coordinates as written in the file: pixels, possibly outside the picture."""

    category: str
    x: float
    y: float
    width: float
    height: float
    area: float
    is_crowd: bool


@dataclasses.dataclass(frozen=True)
class CocoPicture:
    """One picture. `height` and `width` are None where the file does not tell them."""

    id: int | str
    file_name: str
    height: int | None
    width: int | None
    objects: tuple[CocoObject, ...]


@dataclasses.dataclass(frozen=True)
class CocoFile:
    """A whole file.

    Attributes:
      path: where it is.
      categories: name -> number, in the order of the numbers.
      pictures: in the order of the file, those without annotation too.
      stray: number of annotations of pictures that the file does not list.
    """

    path: Path
    categories: dict[str, int]
    pictures: tuple[CocoPicture, ...]
    stray: int


def read(path: str | Path) -> CocoFile:
    """Reads a COCO instances file.

    Raises:
      CocoError: no JSON, no COCO instances file, or annotations that say something impossible; the
        message names the first of them.
      FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, expected a .json file" if path.is_dir() else "does not exist"
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
    pictures = []
    for position, item in enumerate(content["images"]):
        try:
            picture = _picture(item)
            pictures.append(
                dataclasses.replace(picture, objects=tuple(objects.pop(picture.id, ())))
            )
        except CocoError as error:
            errors.append(f"{path}: images[{position}]{_named(item)}: {error}")
    raise_all(errors, CocoError)
    _refuse_duplicates([picture.id for picture in pictures], "images", "id", path)
    return CocoFile(path, categories, tuple(pictures), sum(map(len, objects.values())))


def _load(path: Path) -> dict[str, Any]:
    """The content, checked for its outline."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            # Outlines are most of a file, and nobody asks for them here.
            content = json.load(file, object_pairs_hook=_without_outlines)
    except (ValueError, RecursionError) as error:  # JSON, letters, numbers of too many digits
        raise CocoError(f"{path} is not valid JSON (cut short?): {error}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        hint = "; a list of results of a detector is not converted" if kind == "list" else ""
        raise CocoError(
            f"{path} holds a {kind}, expected an object with images and categories{hint}"
        )
    for key in ("images", "annotations", "categories"):
        if key == "annotations" and key not in content:
            continue
        if not isinstance(content.get(key), list):
            raise CocoError(
                f"{path} is not a COCO instances file: it has no list {key!r}; its keys are "
                f"{some(list(content)) or 'none'}"
            )
    if not content["images"]:
        raise CocoError(f"{path} lists no picture")
    return content


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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
        raise CocoError(f"{path} names no category")
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
            f"({some([str(number) for number in names])})"
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


def _picture(item: Any) -> CocoPicture:
    number = _id(item, "id")
    file_name = item.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        raise CocoError(f"file_name is {_shortened(file_name)}, expected the name of a picture")
    sides = [item.get(key) for key in ("height", "width")]
    for side in sides:
        if side is not None and not (_is_number(side) and side >= 0):
            raise CocoError(f"height and width are {_shortened(sides)}, expected pixels")
    height, width = (int(side) if side and side >= 1 else None for side in sides)
    return CocoPicture(number, file_name.strip(), height, width, ())


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
    """A number that float holds; NaN and infinity, which Python reads in JSON, are none."""
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
        raise CocoError(f"{path}: {where} have the same {key} more than once: {some(twice)}")


def _of(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _named(item: Any) -> str:
    return f" (id {_shortened(item['id'])})" if isinstance(item, dict) and "id" in item else ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def class_numbers(file: CocoFile) -> dict[str, int]:
    """Class name -> number 1..K for a label map of the file's own.

    The category numbers themselves, gaps included, as the OD API takes them; where they cannot
    serve (one is below 1 or above HIGHEST_ID), 1, 2, 3... in their order.
    """
    if ids_serve(file):
        return dict(file.categories)
    return {name: position for position, name in enumerate(file.categories, start=1)}


def ids_serve(file: CocoFile) -> bool:
    """Whether the category numbers can be class numbers."""
    numbers = file.categories.values()
    return min(numbers) >= 1 and max(numbers) <= HIGHEST_ID


def find_picture(image_dir: Path, file_name: str) -> Path | None:
    """The file of a picture, or None.

    First the whole name below the folder, then its last part: folders of the author's machine mean
    nothing here. Nothing outside of the folder is looked at.
    """
    name = PurePosixPath(file_name.replace("\\", "/"))
    candidates = [] if name.is_absolute() or ".." in name.parts else [image_dir / name]
    for path in (*candidates, image_dir / name.name):
        if path.is_file():
            return path
    return None
