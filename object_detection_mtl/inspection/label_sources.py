"""Where pictures to look at come from: VOC folders, COCO files, records.

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
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedPicture
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import Summary


@dataclasses.dataclass(frozen=True)
class Source:
    """Pictures as records.

    Attributes:
      examples: serialised records, made when they are asked for.
      categories: the classes.
      report: what was left out or repaired on the way; grows while `examples` is read.
    """

    examples: Iterable[bytes]
    categories: Sequence[label_map.Category]
    report: Summary

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
    return Source(_stored(files), categories, Summary())


def of_voc(
    folders: Sequence[Path],
    set_name: str | None,
    annotations_dir: str,
    images_dir: str,
    *,
    label_map_path: str | None = None,
) -> Source:
    """VOC folders; without a label map, the classes that the set names are numbered."""
    jobs = voc_conversion.collect_jobs(folders, set_name, annotations_dir, images_dir)
    names = voc_annotations.class_names(job.annotation for job in jobs) or ["object"]
    categories = _categories(
        label_map_path, {name: number for number, name in enumerate(names, start=1)}
    )
    labels = label_map.ids_by_name(categories)
    voc_conversion.check_classes(jobs, labels, str(label_map_path))
    return _converted(voc_conversion.as_pictures(jobs, labels), categories)


def of_coco(annotations_file: str, image_dir: str, *, label_map_path: str | None = None) -> Source:
    """A COCO instances file; without a label map, its categories are the classes."""
    file = coco_annotations.read(annotations_file)
    categories = _categories(label_map_path, coco_annotations.class_numbers(file))
    labels = label_map.ids_by_name(categories)
    coco_conversion.check_classes(file, labels, str(label_map_path))
    return _converted(coco_conversion.as_pictures(file, image_dir, labels), categories)


def _categories(label_map_path: str | None, labels: Mapping[str, int]) -> list[label_map.Category]:
    if label_map_path is None:
        return label_map.parse(
            dataset_label_map.text_of(labels), source="the classes of the data set"
        )
    return label_map.load(label_map_path)


def _stored(files: Sequence[str]) -> Iterator[bytes]:
    for serialized in tf.data.TFRecordDataset(list(files)):
        yield serialized.numpy()


def _converted(
    pictures: Sequence[AnnotatedPicture], categories: Sequence[label_map.Category]
) -> Source:
    report = Summary()

    def examples() -> Iterator[bytes]:
        for picture in pictures:
            converted = record_conversion.convert(picture, ConversionOptions())
            report.add(converted.report)
            if converted.serialized is not None:
                yield converted.serialized

    return Source(examples(), categories, report)
