"""Annotated images from PASCAL VOC directories."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from object_detection_mtl.dataset_tools import (
    conversion_report,
    dataset_label_map,
    voc_annotations,
    voc_xml,
)
from object_detection_mtl.dataset_tools.annotated_images import (
    AnnotatedImage,
    AnnotatedObject,
    require_pixels,
)
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes


@dataclasses.dataclass(frozen=True)
class LocatedAnnotation:
    """An annotation and the path of its image, None if the image is missing."""

    annotation: voc_xml.VocAnnotation
    image_path: Path | None


def locate_annotations(
    directories: Iterable[Path],
    set_name: str | None = None,
    annotations_dir: str = voc_annotations.ANNOTATIONS,
    images_dir: str = voc_annotations.IMAGES,
    notes: EntryNotes | None = None,
) -> list[LocatedAnnotation]:
    """Read every annotation of a set and find its image.

    Args:
        directories: VOC directories.
        set_name: see `voc_annotations.annotation_files`.
        annotations_dir: directory of the .xml files, relative to the VOC directory.
        images_dir: directory of the images, relative to the VOC directory.
        notes: what was skipped or replaced is added here; None: it is logged.

    Returns:
        The annotations of all directories in the order of the set.

    Raises:
        VocError: all annotations are unreadable, or two belong to one image.
        FileNotFoundError: a directory, a set, an annotation file, or all images are missing.
    """
    located: list[LocatedAnnotation] = []
    noted = EntryNotes() if notes is None else notes
    for directory in directories:
        finder = voc_annotations.ImageFinder(directory, images_dir)
        files = voc_annotations.annotation_files(directory, set_name, annotations_dir)
        found = [
            LocatedAnnotation(annotation, finder.find(annotation, noted))
            for annotation in parse_annotations(files, noted)
        ]
        if all(item.image_path is None for item in found):
            raise FileNotFoundError(
                f"{finder.directory} has none of the {len(found)} images that the annotations "
                f"name, such as {_image_name(found[0].annotation)!r}; give the directory of the "
                "images with --images_dir"
            )
        located += found
    _raise_if_image_is_shared(located)
    if notes is None:
        for line in noted.lines():
            logging.getLogger(__name__).warning("%s", line)
    return located


def _raise_if_image_is_shared(located: Iterable[LocatedAnnotation]) -> None:
    owners: dict[str, Path] = {}
    for item in located:
        if item.image_path is None:
            continue
        owner = owners.setdefault(item.image_path.name, item.annotation.path)
        if owner != item.annotation.path:
            raise voc_xml.VocError(
                f"{owner} and {item.annotation.path} both belong to an image named "
                f"{item.image_path.name}. Evaluation identifies images by their names: correct "
                "<filename>, or convert directories with equal names into separate records"
            )


def parse_annotations(files: Sequence[Path], notes: EntryNotes) -> list[voc_xml.VocAnnotation]:
    """Parse annotation files.

    Args:
        files: the files.
        notes: unreadable files, unusable objects and values are added here.

    Raises:
        VocError: all files are unreadable, or all objects unusable, or all boxes look like
            fractions.
    """
    annotations = []
    for path in tqdm(files, desc="annotations", unit="file", disable=None):
        try:
            annotations.append(voc_xml.parse_annotation(path, notes))
        except voc_xml.VocError as error:
            notes.add(_UNREADABLE, str(error))
    if files and not annotations:
        raise voc_xml.VocError(notes.describe_all(_UNREADABLE))
    found = [item for annotation in annotations for item in annotation.objects]
    if not found and voc_xml.NO_OBJECT in notes:
        raise voc_xml.VocError(notes.describe_all(voc_xml.NO_OBJECT))
    boxes = [(item.xmin, item.ymin, item.xmax, item.ymax) for item in found]
    require_pixels(boxes, files[0].parent if files else "", voc_xml.VocError)
    return annotations


_UNREADABLE = "annotation files skipped, unreadable"


def check_classes(
    located: Iterable[LocatedAnnotation], labels: Mapping[str, int], label_map_name: str
) -> None:
    """Raise a DataError if the label map lacks classes; it names a file for each of them."""
    places: dict[str, str] = {}
    for item in located:
        for annotated in item.annotation.objects:
            places.setdefault(annotated.name, str(item.annotation.path))
    dataset_label_map.check_classes(places, labels, label_map_name)


def load_images(
    directories: Iterable[Path],
    labels: Mapping[str, int],
    *,
    set_name: str | None = None,
    annotations_dir: str = voc_annotations.ANNOTATIONS,
    images_dir: str = voc_annotations.IMAGES,
    label_map_name: str = "",
    ignore_difficult_instances: bool = False,
    notes: EntryNotes | None = None,
) -> list[AnnotatedImage]:
    """Read VOC directories and return their annotated images.

    Args:
        directories: VOC directories.
        labels: class name -> number, 1..K.
        set_name: see `locate_annotations`.
        annotations_dir: see `locate_annotations`.
        images_dir: see `locate_annotations`.
        label_map_name: name of the label map in messages.
        ignore_difficult_instances: drop objects that are marked as difficult.
        notes: see `locate_annotations`.

    Returns:
        The annotated images.
    """
    located = locate_annotations(directories, set_name, annotations_dir, images_dir, notes)
    check_classes(located, labels, label_map_name)
    return to_annotated_images(
        located, labels, ignore_difficult_instances=ignore_difficult_instances
    )


def to_annotated_images(
    located: Iterable[LocatedAnnotation],
    labels: Mapping[str, int],
    *,
    ignore_difficult_instances: bool = False,
) -> list[AnnotatedImage]:
    """Return the annotated images of VOC annotations.

    Args:
        located: from `locate_annotations`, checked by `check_classes`.
        labels: class name -> number, 1..K.
        ignore_difficult_instances: drop objects that are marked as difficult.

    Returns:
        The annotated images, in the same order.
    """
    return [_to_annotated_image(item, labels, ignore_difficult_instances) for item in located]


def _to_annotated_image(
    located: LocatedAnnotation, labels: Mapping[str, int], ignore_difficult: bool
) -> AnnotatedImage:
    annotation, path = located.annotation, located.image_path
    stated = (annotation.height, annotation.width)
    name = path.name if path is not None else _image_name(annotation)
    return AnnotatedImage(
        path=path,
        filename=name,
        source_id=name,
        origin=annotation.path.name,
        size=None if None in stated else (int(stated[0] or 0), int(stated[1] or 0)),
        objects=tuple(_to_object(item, labels, ignore_difficult) for item in annotation.objects),
        details=("difficult", "truncated", "view"),
    )


def _to_object(
    item: voc_xml.VocObject, labels: Mapping[str, int], ignore_difficult: bool
) -> AnnotatedObject:
    is_dropped = ignore_difficult and item.difficult
    return AnnotatedObject(
        name=item.name,
        label=labels[item.name],
        ymin=item.ymin,
        xmin=item.xmin,
        ymax=item.ymax,
        xmax=item.xmax,
        details={"difficult": item.difficult, "truncated": item.truncated, "view": item.pose},
        drop_reason=conversion_report.DIFFICULT if is_dropped else None,
    )


def _image_name(annotation: voc_xml.VocAnnotation) -> str:
    return annotation.filename or annotation.path.stem


def derive_label_map(directories: Iterable[Path], annotations_dir: str, path: Path) -> None:
    """Write a label map of every class of the directories, in alphabetical order.

    Args:
        directories: VOC directories; their sets are ignored.
        annotations_dir: directory of the .xml files, relative to the VOC directory.
        path: the label map to write.

    Raises:
        FileExistsError: another label map exists.
        IsADirectoryError: the path is a directory.
        VocError: the annotations have no object, or are unreadable.
    """
    dataset_label_map.raise_if_directory(path)
    annotations = [
        annotation
        for directory in directories
        for annotation in parse_annotations(
            voc_annotations.all_annotation_files(directory, annotations_dir), EntryNotes()
        )
    ]
    names = voc_annotations.class_names(annotations)
    if not names:
        raise voc_xml.VocError(
            "the annotations have no object, so no label map can be derived from them"
        )
    labels = {name: number for number, name in enumerate(names, start=1)}
    dataset_label_map.write_label_map(labels, path)
