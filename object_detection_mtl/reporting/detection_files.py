"""Detections from COCO results, PASCAL VOC text files or records.

* COCO: a JSON list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, pixels.
  An entry with `file_name` belongs to the image with this name. Entries of a model with refinement
  may have `main_category_id` and `main_score`, the prediction of its main head.
* PASCAL VOC: a directory with a text file for each class, `<class>.txt` or `<any>_<class>.txt`,
  with lines `<image id> <score> <xmin> <ymin> <xmax> <ymax>`, pixels.
* Records: `image/detection/...` of the OD API, fractions of the image.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.config import label_map
from object_detection_mtl.config.errors import counted, listing, quoted
from object_detection_mtl.dataset_tools import text_encodings
from object_detection_mtl.fields import TfExample
from object_detection_mtl.reporting import groundtruth_files, record_examples
from object_detection_mtl.reporting.evaluated_images import (
    DetectedObjects,
    EvaluationSet,
    MainBranch,
    make_detections,
    owners_of_names,
    with_detections,
)

_RECORD_BOX = (
    TfExample.detection_ymin,
    TfExample.detection_xmin,
    TfExample.detection_ymax,
    TfExample.detection_xmax,
)
# Of a class that the ground truth lacks; `with_detections` skips and counts these detections.
_UNKNOWN_CLASS = -1


def read_detections(
    path: str | Path,
    groundtruth: EvaluationSet,
    *,
    name: str | None = None,
    skip_unknown: bool = False,
) -> EvaluationSet:
    """Return the images of `groundtruth` with the detections of a file or a directory.

    Args:
        path: COCO results (.json), a directory of PASCAL VOC text files, or record files.
        groundtruth: result of `groundtruth_files.read_groundtruth`.
        name: name of the detector; None takes that of the file.
        skip_unknown: skip and count detections of unknown images and classes.

    Raises:
        ValueError, FileNotFoundError: files that cannot be used; the message names the place.
    """
    source = Path(path)
    if not source.exists() and not groundtruth_files.is_pattern(path):
        raise FileNotFoundError(
            f"detections {str(path)!r} do not exist; expected COCO results (.json), a directory of "
            "PASCAL VOC texts, or records"
        )
    if not source.is_dir():
        notes = groundtruth.notes + groundtruth.note_on_class_numbers()
        groundtruth = dataclasses.replace(groundtruth, notes=notes)
    if source.is_dir():
        detected, notes = _read_voc_texts(source, groundtruth, skip_unknown)
        groundtruth = dataclasses.replace(groundtruth, notes=groundtruth.notes + notes)
    elif str(path).endswith(".json"):
        detected = _read_coco_results(source, groundtruth, skip_unknown)
    else:
        detected = _read_records(str(path), groundtruth)
    return with_detections(
        groundtruth,
        detected,
        name or source.stem or str(path),
        skip_unknown=skip_unknown,
        source=str(path),
    )


def _read_coco_results(
    path: Path, groundtruth: EvaluationSet, skip_unknown: bool
) -> dict[str, DetectedObjects]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON (truncated?): {error}") from error
    if not isinstance(content, list):
        kind = "an object" if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{path} holds {kind}, expected COCO results: a list of detections with image_id, "
            "category_id, bbox and score"
        )
    _check_class_names(path.with_name("images.json"), path, groundtruth)
    owners = owners_of_names(groundtruth.images)
    class_of = _class_finder(groundtruth, skip_unknown)
    rows: dict[str, list[tuple]] = defaultdict(list)
    for position, item in enumerate(content):
        key, row = _coco_row(item, f"{path}: entry {position}", owners, class_of)
        rows[key].append(row)
    return {key: _objects(found) for key, found in rows.items()}


def _check_class_names(description: Path, results: Path, groundtruth: EvaluationSet) -> None:
    """Compare the classes of images.json, which detect_objects writes beside its results.

    Raises:
        ValueError: a class number has another name in the ground truth.
    """
    try:
        classes = json.loads(description.read_text(encoding="utf-8-sig"))["categories"]
        names = {int(item["id"]): str(item["name"]) for item in classes}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # Without it, or with another file of this name, the numbers count.
    numbers = groundtruth.category_numbers
    for category in groundtruth.categories:
        found = [n for n in names if (n if numbers is None else numbers.get(n)) == category.id]
        if found and names[found[0]] not in (category.name, category.display_name):
            raise ValueError(
                f"{results}: class {found[0]} is {names[found[0]]!r} ({description.name}), in the "
                f"ground truth {category.name!r}. Give the label map of the detections: "
                "--label_map_path"
            )


def _class_finder(
    groundtruth: EvaluationSet, skip_unknown: bool
) -> Callable[[dict[str, Any], str, str], int]:
    """Return a function: (entry, key of its category, place of the entry) -> class number."""
    numbers = groundtruth.category_numbers
    if numbers is None:
        numbers = {category.id: category.id for category in groundtruth.categories}
    names = {category.id: category.name for category in groundtruth.categories}

    def class_of(item: dict[str, Any], key: str, where: str) -> int:
        value = item[key]
        if not _is_finite(value) or int(value) != value:
            raise ValueError(f"{where}: {key} is {quoted(value)}, expected an integer")
        found = numbers.get(int(value), _UNKNOWN_CLASS)
        if found == _UNKNOWN_CLASS and not skip_unknown:
            known = listing([f"{number} {names[i]}" for number, i in numbers.items()], 6)
            raise ValueError(
                f"{where}: {key} {quoted(value)} is not a class of the ground truth ({known}). "
                "Give the label map of the detections, --label_map_path; --skip_unknown skips "
                "these detections"
            )
        return found

    return class_of


def _coco_row(
    item: Any,
    where: str,
    owners: dict[str, str | None],
    class_of: Callable[[dict[str, Any], str, str], int],
) -> tuple[str, tuple]:
    """Return image name and (box, score, class, main class or None, main score)."""
    if not isinstance(item, dict):
        raise ValueError(f"{where} is {quoted(item)}, expected an object")
    missing = [k for k in ("image_id", "category_id", "bbox", "score") if k not in item]
    if missing:
        raise ValueError(f"{where} has no {missing[0]!r}; its keys are {listing(item)}")
    box = item["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)):
        raise ValueError(f"{where}: bbox is {quoted(box)}, expected x, y, width, height")
    has_main = item.get("main_category_id") is not None
    for key in ("score", "main_score") if has_main else ("score",):
        if not _is_finite(item.get(key)):
            raise ValueError(f"{where}: {key} is {quoted(item.get(key))}, expected a finite number")
    x, y, width, height = box
    return _image_name(item, owners), (
        (y, x, y + height, x + width),
        item["score"],
        class_of(item, "category_id", where),
        class_of(item, "main_category_id", where) if has_main else None,
        item["main_score"] if has_main else math.nan,
    )


def _image_name(item: dict[str, Any], owners: dict[str, str | None]) -> str:
    """Return the id of the entry's image, or a name that no image has.

    A file name decides, with or without directories and extension: `detect_objects` numbers the
    images of its input, and these numbers may be those of other images in the ground truth. The
    number decides without a file name, and where several images have this name.
    """
    image_id = item["image_id"]
    if isinstance(image_id, float) and image_id.is_integer():
        image_id = int(image_id)
    file_name = item.get("file_name")
    if not isinstance(file_name, str):
        return str(image_id)
    for alias in groundtruth_files.aliases_of(file_name):
        if alias in owners:
            return owners[alias] or str(image_id)
    return file_name


def _is_finite(value: Any) -> bool:
    """Return whether a value of JSON is a number that a float can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _objects(rows: list[tuple]) -> DetectedObjects:
    boxes, scores, classes, main_classes, main_scores = zip(*rows, strict=True)
    branch = None
    if None not in main_classes:
        branch = MainBranch(np.array(main_classes, np.int64), np.array(main_scores, np.float64))
    return DetectedObjects(make_detections(boxes, scores, classes), branch)


def _read_voc_texts(
    directory: Path, groundtruth: EvaluationSet, skip_unknown: bool
) -> tuple[dict[str, DetectedObjects], tuple[str, ...]]:
    """Return the detections, and notes on skipped files."""
    ids = label_map.ids_by_name(groundtruth.categories)
    files = sorted(directory.glob("*.txt"))
    if not files:
        raise FileNotFoundError(
            f"{str(directory)!r} has no .txt file; expected one for each class, such as "
            f"{next(iter(ids))}.txt"
        )
    rows: dict[str, list[tuple]] = defaultdict(list)
    file_of: dict[int, Path] = {}
    skipped = []
    for file in files:
        name = _class_of_file(file, ids)
        if name is None and skip_unknown:
            skipped.append(file.name)
            continue
        if name is None:
            raise ValueError(
                f"{file}: the file name does not end with a class; expected <class>.txt or "
                f"<any>_<class>.txt, of {listing(ids)}. --skip_unknown skips the file"
            )
        class_id = ids[name]
        if class_id in file_of:
            raise ValueError(
                f"{file_of[class_id]} and {file.name} are both detections of {name!r}, expected "
                "one file for each class. Give a directory with the detections of one detector"
            )
        file_of[class_id] = file
        lines = next(text_encodings.decode_list(file.read_bytes())).splitlines()
        for number, line in enumerate(lines, start=1):
            if line.strip():
                key, score, box = _voc_line(line, f"{file}, line {number}")
                rows[key].append((box, score, class_id, None, math.nan))
    if len(skipped) == len(files):
        raise ValueError(
            f"{directory}: no file name ends with a class of the ground truth: "
            f"{listing(skipped, 4)}; expected <class>.txt or <any>_<class>.txt, of {listing(ids)}"
        )
    notes = [f"Skipped {counted(len(skipped), 'file')} of unknown classes: {listing(skipped, 4)}."]
    return {key: _objects(found) for key, found in rows.items()}, tuple(notes if skipped else ())


def _class_of_file(file: Path, ids: dict[str, int]) -> str | None:
    fitting = [name for name in ids if file.stem == name or file.stem.endswith(f"_{name}")]
    return max(fitting, key=len, default=None)


def _voc_line(line: str, where: str) -> tuple[str, float, tuple]:
    parts = line.rsplit(maxsplit=5)
    try:
        score, xmin, ymin, xmax, ymax = map(float, parts[1:])
    except ValueError:
        raise ValueError(
            f"{where} is {quoted(line)}, expected image id, score, xmin, ymin, xmax, ymax"
        ) from None
    if not math.isfinite(score):
        raise ValueError(f"{where}: the score is {score}, expected a finite number")
    return parts[0], score, (ymin, xmin, ymax, xmax)


def _read_records(pattern: str, groundtruth: EvaluationSet) -> dict[str, DetectedObjects]:
    owners = owners_of_names(groundtruth.images)
    sizes = {image.image_id: (image.height, image.width) for image in groundtruth.images}
    detected: dict[str, DetectedObjects] = {}
    for example in record_examples.read_examples(pattern):
        name = example.name
        if not name:
            raise ValueError(f"{example.where} has neither source id nor file name")
        if name in detected:
            raise ValueError(f"{pattern}: two records belong to image {name!r}, expected one")
        height, width = example.size or sizes.get(owners.get(name) or "", (None, None))
        if not height or not width:
            raise ValueError(
                f"{pattern}: image {name!r}: neither the record nor the ground truth has its size"
            )
        boxes = example.boxes(_RECORD_BOX, height, width)
        scores = example.numbers(TfExample.detection_score)
        classes = example.integers(TfExample.detection_label)
        if not len(scores) == len(classes) == len(boxes):
            raise ValueError(
                f"{example.where}: image {name!r} has {len(scores)} scores, {len(classes)} classes "
                f"and {len(boxes)} boxes; expected as many of each"
            )
        if not np.isfinite(scores).all():
            raise ValueError(f"{example.where}: a score of image {name!r} is not a finite number")
        detected[name] = DetectedObjects(make_detections(boxes, scores, classes))
    return detected
