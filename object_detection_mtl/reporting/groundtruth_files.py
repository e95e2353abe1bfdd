"""Ground truth from records, a PASCAL VOC directory or a COCO instances file."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from object_detection_mtl.config import label_map
from object_detection_mtl.config.errors import counted
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.data import image_files
from object_detection_mtl.dataset_tools import coco_annotations, voc_annotations, voc_xml
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes
from object_detection_mtl.fields import TfExample
from object_detection_mtl.reporting import record_examples
from object_detection_mtl.reporting.evaluated_images import (
    EvaluatedImage,
    EvaluationSet,
    make_groundtruth,
)
from object_detection_mtl.reporting.record_examples import RecordExample

_RECORD_BOX = (TfExample.ymin, TfExample.xmin, TfExample.ymax, TfExample.xmax)
_PATTERN = re.compile(r"[*?\[,]|://")


def read_groundtruth(
    path: str | Path,
    *,
    label_map_path: str | Path | None = None,
    set_name: str | None = None,
    image_dir: str | Path | None = None,
) -> EvaluationSet:
    """Return the images of a dataset with their objects, without detections.

    Args:
        path: a COCO instances file (.json), a PASCAL VOC directory, or record files (a path or a
            pattern).
        label_map_path: the classes; None takes those of the annotations.
        set_name: set of a PASCAL VOC directory: ImageSets/Main/<set_name>.txt.
        image_dir: directory of the image files of a COCO file; without it the report has no images.

    Raises:
        ValueError, FileNotFoundError: files that cannot be used; the message names them.
    """
    categories = label_map.load(label_map_path) if label_map_path else None
    if not Path(path).exists() and not is_pattern(path):
        raise FileNotFoundError(
            f"ground truth {str(path)!r} does not exist; expected a COCO instances file (.json), a "
            "PASCAL VOC directory, or records"
        )
    is_voc = Path(path).is_dir()
    is_coco = not is_voc and str(path).endswith(".json")
    if set_name and not is_voc:
        raise ValueError(
            f"--set={set_name}: only PASCAL VOC directories have sets, and {str(path)!r} is none. "
            "Omit --set"
        )
    if image_dir and not is_coco:
        raise ValueError(
            f"--image_dir={image_dir}: only COCO files need it; {str(path)!r} has its images. Omit "
            "--image_dir"
        )
    if image_dir and not Path(image_dir).is_dir():
        raise FileNotFoundError(
            f"--image_dir={image_dir}: no such directory; expected that of the images of {path}"
        )
    if is_voc:
        return _read_voc(Path(path), categories, set_name)
    if is_coco:
        return _read_coco(path, categories, Path(image_dir) if image_dir else None)
    return _read_records(str(path), categories)


def is_pattern(path: str | Path) -> bool:
    """Return whether a path of records may match files of other names, or is remote."""
    return _PATTERN.search(str(path)) is not None


def _read_voc(
    directory: Path, categories: list[Category] | None, set_name: str | None
) -> EvaluationSet:
    annotations: list[tuple[voc_xml.VocAnnotation, Path | None]] = []
    skipped = EntryNotes()
    try:
        parts = voc_annotations.find_directories(directory)
    except FileNotFoundError as error:
        raise ValueError(
            f"ground truth {str(directory)!r} is not a PASCAL VOC directory: neither it nor its "
            "subdirectory VOC2007 has Annotations"
        ) from error
    for part in parts:
        try:
            finder: voc_annotations.ImageFinder | None = voc_annotations.ImageFinder(part)
        except FileNotFoundError:
            finder = None  # The numbers need no images.
        for file in voc_annotations.annotation_files(part, set_name):
            annotation = voc_xml.parse_annotation(file, skipped)
            annotations.append((annotation, finder.find(annotation) if finder else None))
    numbered_by_name = categories is None
    if categories is None:
        names = voc_annotations.class_names(annotation for annotation, _ in annotations)
        categories = _numbered(names, str(directory))
    ids = label_map.ids_by_name(categories)
    images, unknown = [], 0
    for annotation, image_path in annotations:
        objects = [item for item in annotation.objects if item.name in ids]
        unknown += len(annotation.objects) - len(objects)
        images.append(
            EvaluatedImage(
                annotation.path.stem,
                make_groundtruth(
                    [(item.ymin, item.xmin, item.ymax, item.xmax) for item in objects],
                    [ids[item.name] for item in objects],
                    difficult=[item.difficult for item in objects],
                ),
                height=annotation.height,
                width=annotation.width,
                read_bytes=_reader(image_path),
                is_file=True,
                aliases=aliases_of(annotation.filename, image_path.name if image_path else ""),
            )
        )
    notes = _notes(unknown) + tuple(f"{line}." for line in skipped.lines())
    return EvaluationSet("", categories, images, notes, numbered_by_name=numbered_by_name)


def _reader(path: Path | None) -> Callable[[], bytes] | None:
    return None if path is None else functools.partial(image_files.read_regular_file, path)


def _read_coco(
    path: str | Path, categories: list[Category] | None, image_dir: Path | None
) -> EvaluationSet:
    file = coco_annotations.read_coco_file(path)
    if categories is None:
        categories = [
            Category(i, name, name) for name, i in coco_annotations.class_numbers(file).items()
        ]
    ids = label_map.ids_by_name(categories)
    images, unknown = [], 0
    for item in file.images:
        objects = [one for one in item.objects if one.category in ids]
        unknown += len(item.objects) - len(objects)
        image_path = coco_annotations.find_image(image_dir, item.file_name) if image_dir else None
        images.append(
            EvaluatedImage(
                str(item.id),
                make_groundtruth(
                    [(one.y, one.x, one.y + one.height, one.x + one.width) for one in objects],
                    [ids[one.category] for one in objects],
                    is_crowd=[one.is_crowd for one in objects],
                    area=[one.area for one in objects],
                ),
                height=item.height,
                width=item.width,
                read_bytes=_reader(image_path),
                is_file=True,
                aliases=aliases_of(item.file_name),
            )
        )
    numbers = {number: ids[name] for name, number in file.categories.items() if name in ids}
    notes = _notes(unknown)
    notes += tuple(f"{note}." for note in file.notes)
    missing = sum(image.read_bytes is None for image in images)
    if image_dir and missing:
        notes += (f"{image_dir} lacks the files of {missing} of {counted(len(images), 'image')}.",)
    if file.num_unlisted:
        notes += (f"{file.num_unlisted} annotations belong to images that the file does not list.",)
    return EvaluationSet("", categories, images, notes, numbers)


def _read_records(pattern: str, categories: list[Category] | None) -> EvaluationSet:
    examples = list(record_examples.read_examples(pattern))
    if categories is None:
        categories = _classes_of_records(examples, pattern)
    ids = label_map.ids_by_name(categories)
    known = {category.id for category in categories}
    images, seen, unknown, unusable = [], set(), 0, 0
    for number, example in enumerate(examples):
        image_id = example.name or f"record {number}"
        if image_id in seen:
            raise ValueError(
                f"{pattern}: two records belong to image {image_id!r}; detections are assigned by "
                "image name, expected one record for each"
            )
        seen.add(image_id)
        image, num_unknown, num_unusable = _image_of_example(example, image_id, ids, known)
        images.append(image)
        unknown += num_unknown
        unusable += num_unusable
    notes = _notes(unknown)
    if unusable:
        notes += (f"Skipped {counted(unusable, 'object')} without area inside of the image.",)
    return EvaluationSet("", categories, images, notes)


def _image_of_example(
    example: RecordExample, image_id: str, ids: dict[str, int], known: set[int]
) -> tuple[EvaluatedImage, int, int]:
    """Return the image, and the numbers of objects of unknown classes and of unusable boxes.

    Boxes are clipped and dropped as in training, so that the numbers are those of its evaluation.
    """
    from object_detection_mtl.data.example_decoder import is_usable

    height, width = example.size or _decoded_size(example.read_image, image_id)
    boxes = example.boxes(_RECORD_BOX, height, width)
    texts = example.texts(TfExample.class_text)
    labels = example.integers(TfExample.class_label)
    classes = np.array([ids.get(text, 0) for text in texts] if texts else labels, np.int64)
    if len(classes) != len(boxes):
        raise ValueError(
            f"{example.where}: image {image_id!r} has {len(classes)} classes for {len(boxes)} boxes"
        )
    is_known = np.isin(classes, list(known))
    size = np.array([height, width, height, width])
    kept = is_known & is_usable(boxes / size)

    def column(key: str) -> list | None:
        values = example.numbers(key)
        return values[kept].tolist() if len(values) == len(kept) and len(values) else None

    image = EvaluatedImage(
        image_id,
        make_groundtruth(
            np.clip(boxes[kept], 0, size),
            classes[kept].tolist(),
            difficult=column(TfExample.difficult),
            is_crowd=column(TfExample.is_crowd),
            group_of=column(TfExample.group_of),
            area=column(TfExample.area),
        ),
        height=height,
        width=width,
        read_bytes=example.read_image,
        aliases=aliases_of(image_id, *example.texts(TfExample.filename)),
    )
    return image, int(np.count_nonzero(~is_known)), int(np.count_nonzero(is_known & ~kept))


def _decoded_size(read_bytes: Callable[[], bytes], image_id: str) -> tuple[int, int]:
    from object_detection_mtl.data import image_files

    try:
        with image_files.open_image(read_bytes()) as image:
            return image.height, image.width
    except image_files.ImageError as error:
        raise ValueError(
            f"image {image_id!r}: the record has neither height and width nor a readable image"
        ) from error


def _classes_of_records(examples: Iterable[RecordExample], source: str) -> list[Category]:
    names: dict[int, str] = {}
    for example in examples:
        labels = example.integers(TfExample.class_label).tolist()
        texts = example.texts(TfExample.class_text)
        for position, label in enumerate(labels):
            text = texts[position] if position < len(texts) else ""
            names.setdefault(label, text or f"class {label}")
    found = [Category(i, name, name) for i, name in sorted(names.items()) if i > 0]
    if not found:
        raise ValueError(f"{source}: no record has an object; name the classes: --label_map_path")
    return found


def _numbered(names: Sequence[str], source: str) -> list[Category]:
    if not names:
        raise ValueError(f"{source} has no object; name the classes: --label_map_path")
    return [Category(i, name, name) for i, name in enumerate(names, start=1)]


def aliases_of(*names: str) -> tuple[str, ...]:
    """Return the names, also without directories and without extension."""
    aliases: dict[str, None] = {}
    for name in filter(None, names):
        last = name.replace("\\", "/").rpartition("/")[2]
        aliases |= dict.fromkeys((name, last, last.rpartition(".")[0] or last))
    return tuple(aliases)


def _notes(unknown: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    return (f"Skipped {counted(unknown, 'object')} of classes that are not in the label map.",)
