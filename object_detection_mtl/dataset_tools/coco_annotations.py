"""COCO instances files: images, objects, categories.

    {"images":      [{"id": 1, "file_name": "a.jpg", "height": 480, "width": 640}, ...],
     "annotations": [{"image_id": 1, "category_id": 18, "bbox": [x, y, width, height],
                      "area": 702.1, "iscrowd": 0}, ...],
     "categories":  [{"id": 18, "name": "dog"}, ...]}

Coordinates are pixels, (x, y) upper left; they may be fractions. Other keys are ignored. Without
"annotations" (COCO publishes such files for its test images) no image has an object. Numbers and
ids may be texts: an id and a text join if they are equal as texts. An unusable entry is skipped, an
unusable area or iscrowd is replaced; both are counted, with the first places.

Files may come from untrusted sources. Loads neither TensorFlow nor images.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from object_detection_mtl.config.errors import quoted
from object_detection_mtl.dataset_tools import text_encodings
from object_detection_mtl.dataset_tools.annotated_images import (
    DataError,
    list_names,
    require_pixels,
)
from object_detection_mtl.dataset_tools.coco_values import (
    InvalidValueError,
    field,
    flag,
    id_of,
    integer,
    is_text,
    key_of,
    named,
    number,
    require_object,
)
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes

# The largest category number that is used as a class number. A model has an output for every number
# up to the largest, used or not.
HIGHEST_ID = 1000


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
    notes = EntryNotes()
    categories = _categories(content["categories"], annotations, path, notes)
    objects: dict[str, list[CocoObject]] = collections.defaultdict(list)
    for position, item in enumerate(annotations):
        place = f"annotations[{position}]{named(item)}"
        try:
            found = _object(item, categories.names, notes, place)
            if found is not None:
                objects[str(id_of(item, "image_id"))].append(found)
        except InvalidValueError as error:
            notes.add(_NO_ANNOTATION, f"{place}: {error}")
    images = []
    for position, item in enumerate(content["images"]):
        place = f"images[{position}]{named(item)}"
        try:
            image = _image(item, notes, place)
            images.append(dataclasses.replace(image, objects=tuple(objects.pop(str(image.id), ()))))
        except InvalidValueError as error:
            notes.add(_NO_IMAGE, f"{place}: {error}")
    if not images:
        raise CocoError(f"{path}: {notes.describe_all(_NO_IMAGE)}")
    if not objects and not any(image.objects for image in images) and _NO_ANNOTATION in notes:
        raise CocoError(f"{path}: {notes.describe_all(_NO_ANNOTATION)}")
    _refuse_duplicates([str(image.id) for image in images], "images", "id", path)
    _refuse_duplicates([image.file_name for image in images], "images", "file_name", path)
    _refuse_strays(images, objects, path, notes)
    boxes = [(o.x, o.y, o.width, o.height) for image in images for o in image.objects]
    require_pixels(boxes, path, CocoError)
    num_unlisted = sum(map(len, objects.values()))
    return CocoFile(path, categories.numbers, tuple(images), num_unlisted, notes.lines())


_NO_ANNOTATION, _NO_IMAGE = "annotations skipped, unusable", "entries of images skipped, unusable"
_NO_BOX = "annotations skipped, bbox is empty"
_NO_AREA = "areas computed from the box, the file has none or an unusable one"
_NO_CROWD = "annotations whose iscrowd is not 0 or 1, 0 is used"
_NO_SIZE = "images whose height or width is not a number of pixels, those of the file are used"


def _refuse_strays(
    images: list[CocoImage], strays: dict[str, list[CocoObject]], path: Path, notes: EntryNotes
) -> None:
    num_strays = sum(map(len, strays.values()))
    if num_strays and not any(image.objects for image in images):
        if _NO_IMAGE in notes:
            raise CocoError(f"{path}: {notes.describe(_NO_IMAGE)}; no other has annotations")
        raise CocoError(
            f"{path}: all {num_strays} annotations belong to images that the file does not list, "
            f"such as image_id {quoted(next(iter(strays)))}; its images have ids such as "
            f"{quoted(images[0].id)}. Give the annotations of these images"
        )


def _load(path: Path) -> dict[str, Any]:
    """Return the content of the file; its top-level keys are checked."""
    try:
        # Bytes in UTF-8, UTF-16 or UTF-32. Segmentations are most of a file and are not used.
        content = json.loads(path.read_bytes(), object_pairs_hook=_drop_segmentation)
    except UnicodeDecodeError as error:
        raise CocoError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it in "
            "UTF-8, unpack it if it is compressed"
        ) from error
    except (ValueError, RecursionError) as error:  # JSON, numbers of too many digits
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


@dataclasses.dataclass(frozen=True)
class _Categories:
    """Categories: name -> number, and id as text -> name."""

    numbers: dict[str, int]
    names: dict[str, str]


def _categories(items: list, annotations: list, path: Path, notes: EntryNotes) -> _Categories:
    """Return the categories without unused parents and unused categories of equal names.

    Their numbers are the ids, or 1, 2, 3... in the order of the file if an id is a text.
    """
    ids: list[tuple[str, str]] = []
    parents: dict[str, set[str]] = collections.defaultdict(set)
    for position, item in enumerate(items):
        name, key = field(item, "name"), key_of(field(item, "id"))
        if not isinstance(name, str) or not name.strip() or key is None or not is_text(name):
            raise CocoError(
                f"{path}: categories[{position}] is {quoted(item)}, expected a name and an id "
                "that is an integer or a text. Correct it"
            )
        ids.append((key, name.strip()))
        parents[str(field(item, "supercategory")).strip()].add(name.strip())
    if not ids:
        raise CocoError(f"{path}: the list of categories is empty")
    _refuse_duplicates([key for key, _ in ids], "categories", "id", path)
    used = {key_of(field(item, "category_id")) for item in annotations}
    kept = []
    counts = collections.Counter(name for _, name in ids)
    for key, name in ids:
        is_parent = bool(parents.get(name, set()) - {name})
        if annotations and key not in used and is_parent:
            notes.add("categories dropped, parent of others without annotations", quoted(name))
        elif annotations and key not in used and counts[name] > 1:
            notes.add("categories dropped, unused, with the name of another", quoted(name))
        else:
            kept.append((key, name))
    _refuse_duplicates([name for _, name in kept], "categories", "name", path)
    numbers = [integer(key) for key, _ in kept]
    if None in numbers:
        numbers = list(range(1, len(kept) + 1))
    numbered = sorted((int(n or 0), name) for n, (_, name) in zip(numbers, kept, strict=True))
    return _Categories({name: n for n, name in numbered}, dict(kept))


def _object(item: Any, names: dict[str, str], notes: EntryNotes, place: str) -> CocoObject | None:
    """Return an object, or None if it has no box."""
    if "bbox" not in require_object(item):
        raise InvalidValueError(
            "it has no bbox; expected a COCO instances file, not captions or panoptic"
        )
    box = item["bbox"]
    if box is None or box == []:
        notes.add(_NO_BOX, place)
        return None
    sides = [number(value) for value in box] if isinstance(box, list) else []
    if len(sides) != 4 or None in sides:
        raise InvalidValueError(f"bbox is {quoted(box)}, expected four numbers x, y, width, height")
    category = names.get(key_of(item.get("category_id")) or "")
    if category is None:
        raise InvalidValueError(
            f"category_id is {quoted(item.get('category_id'))}, which is not the id of a "
            f"category ({list_names(list(names))})"
        )
    is_crowd = flag(item.get("iscrowd"))
    if is_crowd is None:
        notes.add(_NO_CROWD, f"{place}: {quoted(item['iscrowd'])}")
    x, y, width, height = (float(side or 0.0) for side in sides)
    area = number(item.get("area"))
    if area is None or area < 0:
        if "area" in item:
            notes.add(_NO_AREA, f"{place}: {quoted(item['area'])}")
        area = max(width, 0.0) * max(height, 0.0)
    return CocoObject(category, x, y, width, height, area, bool(is_crowd))


def _image(item: Any, notes: EntryNotes, place: str) -> CocoImage:
    found_id = id_of(item, "id")
    file_name = item.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip() or not is_text(file_name):
        raise InvalidValueError(f"file_name is {quoted(file_name)}, expected the name of an image")
    given = [item.get(key) for key in ("height", "width")]
    sides = [number(side) for side in given]
    if any(
        stated is not None and (side is None or side < 0)
        for side, stated in zip(sides, given, strict=True)
    ):
        notes.add(_NO_SIZE, f"{place}: {quoted(given)}")
        sides = [None, None]
    height, width = (int(side) if side and side >= 1 else None for side in sides)
    return CocoImage(found_id, file_name.strip(), height, width, ())


def _refuse_duplicates(values: Iterable[Any], where: str, key: str, path: Path) -> None:
    twice = [str(value) for value, count in collections.Counter(values).items() if count > 1]
    if twice:
        raise CocoError(f"{path}: {where} have the same {key} more than once: {list_names(twice)}")


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

    An image is searched by its last component only where no other image has the same. Names are
    compared in Unicode's composed form too.

    Raises:
        CocoError: two entries name the same file.
    """
    names = [image.file_name for image in file.images]
    counts = collections.Counter(map(_base_name, names))
    owners: dict[Path, str] = {}
    on_disk: dict[str, Path] | None = None
    found = []
    for name in names:
        path = find_image(image_dir, name, by_base_name=counts[_base_name(name)] == 1)
        if path is None and not name.isascii():
            on_disk = _by_composed_name(image_dir) if on_disk is None else on_disk
            path = on_disk.get(text_encodings.composed(name.replace("\\", "/")))
        if path is not None and owners.setdefault(path, name) != name:
            raise CocoError(
                f"{file.path}: the entries {quoted(owners[path])} and {quoted(name)} of "
                f"images both name the file {path}; expected one entry for each image"
            )
        found.append(path)
    return found


def _by_composed_name(image_dir: Path) -> dict[str, Path]:
    """Return the files below a directory by their names in Unicode's composed form."""
    return {
        text_encodings.composed((Path(place) / name).relative_to(image_dir).as_posix()): path
        for place, _, names in os.walk(image_dir)
        for name in names
        if _is_file(path := Path(place) / name)
    }


def _base_name(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a directory that is not readable
        return False
