"""COCO instances files: images, objects, categories.

    {"images":      [{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}, ...],
     "annotations": [{"image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "area": 702.1, "iscrowd": 0}, ...],
     "categories":  [{"id": 18, "name": "dog"}, ...]}

Coordinates are pixels, (x, y) upper left; they may be fractions. Other keys are ignored. Without
"annotations" (COCO publishes such files for its test images) no image has an object. Numbers and
ids may be texts: an id and a text join if they are equal as texts. Values that tools leave empty
(bbox, area, iscrowd) are replaced or skipped, and counted.

Files may come from untrusted sources. Loads neither TensorFlow nor images.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from object_detection_mtl.dataset_tools.annotated_images import (
    DataError,
    list_names,
    raise_errors,
    require_pixels,
)

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
        notes: what was skipped or replaced, with its number.
    """

    path: Path
    categories: dict[str, int]
    images: tuple[CocoImage, ...]
    num_unlisted: int
    notes: tuple[str, ...] = ()


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
    annotations = content.get("annotations", [])
    notes: collections.Counter[str] = collections.Counter()
    categories = _categories(content["categories"], annotations, path, notes)
    names = {number: name for name, number in categories.items()}
    objects: dict[str, list[CocoObject]] = collections.defaultdict(list)
    errors = []
    for position, item in enumerate(annotations):
        try:
            found = _object(item, names, notes)
            if found is not None:
                objects[str(_id(item, "image_id"))].append(found)
        except CocoError as error:
            errors.append(f"{path}: annotations[{position}]{_named(item)}: {error}")
    images = []
    for position, item in enumerate(content["images"]):
        try:
            image = _image(item)
            images.append(dataclasses.replace(image, objects=tuple(objects.pop(str(image.id), ()))))
        except CocoError as error:
            errors.append(f"{path}: images[{position}]{_named(item)}: {error}")
    raise_errors(errors, CocoError)
    _refuse_duplicates([str(image.id) for image in images], "images", "id", path)
    _refuse_duplicates([image.file_name for image in images], "images", "file_name", path)
    _refuse_strays(images, objects, path)
    boxes = [(o.x, o.y, o.width, o.height) for image in images for o in image.objects]
    require_pixels(boxes, path, CocoError)
    lines = tuple(f"{note}: {count}" for note, count in notes.items())
    return CocoFile(path, categories, tuple(images), sum(map(len, objects.values())), lines)


def _refuse_strays(
    images: list[CocoImage], strays: dict[str, list[CocoObject]], path: Path
) -> None:
    num_strays = sum(map(len, strays.values()))
    if num_strays and not any(image.objects for image in images):
        raise CocoError(
            f"{path}: all {num_strays} annotations belong to images that the file does not list, "
            f"such as image_id {_shortened(next(iter(strays)))}; its images have ids such as "
            f"{_shortened(images[0].id)}. Give the annotations of these images"
        )


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


def _categories(
    items: list, annotations: list, path: Path, notes: collections.Counter[str]
) -> dict[str, int]:
    """Return name -> number, without unused parents and unused categories of equal names."""
    numbers: list[tuple[int, str]] = []
    parents: dict[str, set[str]] = collections.defaultdict(set)
    for position, item in enumerate(items):
        name, number = _of(item, "name"), _integer(_of(item, "id"))
        if not isinstance(name, str) or not name.strip() or number is None:
            raise CocoError(
                f"{path}: categories[{position}] is {_shortened(item)}, expected a name and an id "
                "that is an integer"
            )
        numbers.append((number, name.strip()))
        parents[str(_of(item, "supercategory")).strip()].add(name.strip())
    if not numbers:
        raise CocoError(f"{path}: the list of categories is empty")
    _refuse_duplicates([number for number, _ in numbers], "categories", "id", path)
    used = {_integer(_of(item, "category_id")) for item in annotations}
    kept = []
    counts = collections.Counter(name for _, name in numbers)
    for number, name in numbers:
        is_parent = bool(parents.get(name, set()) - {name})
        if annotations and number not in used and is_parent:
            notes[f"categories dropped, parent of others without annotations ({name!r})"] += 1
        elif annotations and number not in used and counts[name] > 1:
            notes[f"categories dropped, unused and of the same name as another ({name!r})"] += 1
        else:
            kept.append((number, name))
    _refuse_duplicates([name for _, name in kept], "categories", "name", path)
    return {name: number for number, name in sorted(kept)}


_NO_BOX = "annotations skipped, bbox is empty"
_NO_AREA = "areas computed from the box, the file has none or a negative one"


def _object(item: Any, names: dict[int, str], notes: collections.Counter[str]) -> CocoObject | None:
    """Return an object, or None if it has no box."""
    if not isinstance(item, dict):
        raise CocoError(f"it is {_shortened(item)}, expected an object")
    if "bbox" not in item:
        raise CocoError("it has no bbox; expected a COCO instances file, not captions or panoptic")
    if item["bbox"] is None or item["bbox"] == []:
        notes[_NO_BOX] += 1
        return None
    box = item["bbox"]
    sides = [_number(value) for value in box] if isinstance(box, list) else []
    if len(sides) != 4 or None in sides:
        raise CocoError(f"bbox is {_shortened(box)}, expected four numbers x, y, width, height")
    category = _integer(item.get("category_id"))
    if category is None or category not in names:
        raise CocoError(
            f"category_id is {_shortened(item.get('category_id'))}, which is not the id of a "
            f"category ({list_names([str(number) for number in names])})"
        )
    crowd = 0.0 if item.get("iscrowd") is None else _number(item["iscrowd"], accept_bool=True)
    if crowd not in (0, 1):
        raise CocoError(f"iscrowd is {_shortened(item['iscrowd'])}, expected 0 or 1")
    x, y, width, height = (float(side or 0.0) for side in sides)
    area = _number(item.get("area"))
    if area is None and item.get("area") is not None:
        raise CocoError(f"area is {_shortened(item['area'])}, expected a number of square pixels")
    if area is None or area < 0:
        if "area" in item:
            notes[_NO_AREA] += 1
        area = max(width, 0.0) * max(height, 0.0)
    return CocoObject(names[category], x, y, width, height, area, bool(crowd))


def _image(item: Any) -> CocoImage:
    number = _id(item, "id")
    file_name = item.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        raise CocoError(f"file_name is {_shortened(file_name)}, expected the name of an image")
    given = [item.get(key) for key in ("height", "width")]
    sides = [_number(side) for side in given]
    for side, stated in zip(sides, given, strict=True):
        if stated is not None and (side is None or side < 0):
            raise CocoError(f"height and width are {_shortened(given)}, expected pixels")
    height, width = (int(side) if side and side >= 1 else None for side in sides)
    return CocoImage(number, file_name.strip(), height, width, ())


def _id(item: Any, key: str) -> int | str:
    if not isinstance(item, dict):
        raise CocoError(f"it is {_shortened(item)}, expected an object")
    value: Any = item.get(key)
    if isinstance(value, str) and value:
        return value
    number = _integer(value)
    if number is None:
        raise CocoError(f"{key} is {_shortened(value)}, expected an integer")
    return number


def _number(value: Any, *, accept_bool: bool = False) -> float | None:
    """Return a finite number, also one written as text; None for anything else."""
    if isinstance(value, bool):
        return float(value) if accept_bool else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    # Python reads NaN and infinity in JSON.
    if not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)


def _integer(value: Any) -> int | None:
    """Return an integer, also a whole float or the text of an integer; None for anything else."""
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) < 19
        # "001" is another id than 1.
        return int(value) if is_number and str(int(value)) == value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


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


def find_image(image_dir: Path, file_name: str, *, by_base_name: bool = True) -> Path | None:
    """Return the path of an image, or None if it is missing.

    The whole name below the directory is searched first, then its last component. Nothing outside
    the directory is read, except through links in it.

    Args:
        image_dir: the directory.
        file_name: the name in the file.
        by_base_name: search for the last component too.
    """
    name = PurePosixPath(file_name.replace("\\", "/"))
    candidates = [] if name.is_absolute() or ".." in name.parts else [image_dir / name]
    if by_base_name:
        candidates.append(image_dir / name.name)
    return next((path for path in candidates if _is_file(path)), None)


def find_images(image_dir: Path, file: CocoFile) -> list[Path | None]:
    """Return the path of every image of a file, None for missing ones; no path occurs twice.

    An image is searched by its last component only where no other image has the same.

    Raises:
        CocoError: two entries name the same file.
    """
    names = [image.file_name for image in file.images]
    counts = collections.Counter(map(_base_name, names))
    owners: dict[Path, str] = {}
    found = []
    for name in names:
        path = find_image(image_dir, name, by_base_name=counts[_base_name(name)] == 1)
        if path is not None and owners.setdefault(path, name) != name:
            raise CocoError(
                f"{file.path}: the entries {_shortened(owners[path])} and {_shortened(name)} of "
                f"images both name the file {path}; expected one entry for each image"
            )
        found.append(path)
    return found


def _base_name(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a directory that is not readable
        return False
