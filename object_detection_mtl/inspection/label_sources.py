"""Where images to look at come from: VOC directories, COCO files, records.

All of them become records first, the first two by the converters' own road, so that what is drawn
is what a training run would see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from object_detection_mtl.config import label_map
from object_detection_mtl.data import record_files
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
class Source:
    """Images as records.

    Attributes:
        examples: serialized records, made when they are asked for.
        categories: the classes.
        report: what was left out or repaired on the way; grows while `examples` is read.
    """

    examples: Iterable[bytes]
    categories: Sequence[label_map.Category]
    report: ConversionReport

    @property
    def num_classes(self) -> int:
        return max(category.id for category in self.categories)

    @property
    def names(self) -> dict[int, str]:
        return {category.id: category.display_name for category in self.categories}


def of_records(pattern: str, label_map_path: str) -> Source:
    """Records of this project, of the OD API or of the authors."""
    categories = label_map.load(label_map_path)
    files = record_files.index_records(pattern).files
    return Source(_stored(files), categories, ConversionReport())


def of_voc(
    directories: Sequence[Path],
    set_name: str | None,
    annotations_dir: str,
    images_dir: str,
    *,
    label_map_path: str | None = None,
) -> Source:
    """VOC directories; without a label map, the classes that the set names are numbered."""
    located = voc_conversion.locate_annotations(directories, set_name, annotations_dir, images_dir)
    names = voc_annotations.class_names(job.annotation for job in located) or ["object"]
    categories = _categories(
        label_map_path, {name: number for number, name in enumerate(names, start=1)}
    )
    labels = label_map.ids_by_name(categories)
    voc_conversion.check_classes(located, labels, str(label_map_path))
    return _converted(voc_conversion.to_annotated_images(located, labels), categories)


def of_coco(annotations_file: str, image_dir: str, *, label_map_path: str | None = None) -> Source:
    """A COCO instances file; without a label map, its categories are the classes."""
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


def _stored(files: Sequence[str]) -> Iterator[bytes]:
    for serialized in tf.data.TFRecordDataset(list(files)):
        yield serialized.numpy()


def _converted(
    images: Sequence[AnnotatedImage], categories: Sequence[label_map.Category]
) -> Source:
    report = ConversionReport()

    def examples() -> Iterator[bytes]:
        for image in images:
            converted = record_conversion.convert_image(image, ConversionOptions())
            report.add(converted.report)
            if converted.serialized is not None:
                yield converted.serialized

    return Source(examples(), categories, report)
