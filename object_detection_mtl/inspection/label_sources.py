"""Records to inspect, from VOC directories, COCO files or record files.

VOC and COCO datasets are converted by the converters' code, so that the inspected records are those
of a training run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from object_detection_mtl.config import label_map
from object_detection_mtl.data import example_decoder, record_files
from object_detection_mtl.dataset_tools import (
    coco_annotations,
    coco_conversion,
    dataset_label_map,
    record_conversion,
    voc_annotations,
    voc_conversion,
)
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import ConversionReport


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """Records to inspect.

    Attributes:
        examples: serialized records; converted while they are read.
        categories: the classes.
        report: report of the conversion; updated while `examples` is read.
        place: number of an example, from 0 -> where it comes from.
    """

    examples: Iterable[bytes]
    categories: Sequence[label_map.Category]
    report: ConversionReport
    place: Callable[[int], str] = "record {}".format

    @property
    def num_classes(self) -> int:
        """Highest class number."""
        return max(category.id for category in self.categories)

    @property
    def names(self) -> dict[int, str]:
        """Class number -> display name."""
        return {category.id: category.display_name for category in self.categories}


def from_records(pattern: str, label_map_path: str) -> LabelSource:
    """Return the records of record files.

    Args:
        pattern: path or pattern of the files, of this package, the OD API or the authors.
        label_map_path: the label map.

    Returns:
        The source.
    """
    categories = label_map.load(label_map_path)
    index = record_files.index_records(pattern)
    return LabelSource(_stored(index), categories, ConversionReport(), index.place)


def from_voc(
    directories: Sequence[Path],
    set_name: str | None,
    annotations_dir: str,
    images_dir: str,
    *,
    label_map_path: str | None = None,
) -> LabelSource:
    """Return the records of VOC directories.

    Args:
        directories: VOC directories.
        set_name: see `voc_annotations.annotation_files`.
        annotations_dir: directory of the .xml files, relative to the VOC directory.
        images_dir: directory of the images, relative to the VOC directory.
        label_map_path: the label map; None: the classes of the set in alphabetical order.

    Returns:
        The source.
    """
    located = voc_conversion.locate_annotations(directories, set_name, annotations_dir, images_dir)
    names = voc_annotations.class_names(item.annotation for item in located) or ["object"]
    categories = _categories(
        label_map_path, {name: number for number, name in enumerate(names, start=1)}
    )
    labels = label_map.ids_by_name(categories)
    voc_conversion.check_classes(located, labels, str(label_map_path))
    return _converted(voc_conversion.to_annotated_images(located, labels), categories)


def from_coco(
    annotations_file: str, image_dir: str, *, label_map_path: str | None = None
) -> LabelSource:
    """Return the records of a COCO instances file.

    Args:
        annotations_file: the file.
        image_dir: directory of the images.
        label_map_path: the label map; None: the categories of the file.

    Returns:
        The source.
    """
    file = coco_annotations.read_coco_file(annotations_file)
    categories = _categories(label_map_path, coco_annotations.class_numbers(file))
    labels = label_map.ids_by_name(categories)
    coco_conversion.check_classes(file, labels, str(label_map_path))
    return _converted(coco_conversion.to_annotated_images(file, image_dir, labels), categories)


def _categories(label_map_path: str | None, labels: Mapping[str, int]) -> list[label_map.Category]:
    if label_map_path is None:
        return label_map.parse(
            dataset_label_map.to_text(labels), source="the classes of the dataset"
        )
    return label_map.load(label_map_path)


def _stored(index: record_files.RecordIndex) -> Iterator[bytes]:
    for record, (number, offset) in enumerate(zip(index.file_numbers, index.offsets, strict=True)):
        try:
            data = record_files.record_at(
                tf.constant(index.files[number]), tf.constant(offset, tf.int64)
            )
            yield data.get_single_element().numpy()
        except tf.errors.DataLossError as error:
            raise ValueError(f"{example_decoder.CORRUPT_RECORD} {index.place(record)}") from error


def _converted(
    images: Sequence[AnnotatedImage], categories: Sequence[label_map.Category]
) -> LabelSource:
    report = ConversionReport()

    def examples() -> Iterator[bytes]:
        for image in images:
            converted = record_conversion.convert_image(image, ConversionOptions())
            report.add(converted.report)
            if converted.serialized is not None:
                yield converted.serialized

    return LabelSource(examples(), categories, report)
