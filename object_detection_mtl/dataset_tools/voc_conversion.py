"""From VOC folders to the form that all converters share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from object_detection_mtl.dataset_tools import conversion_report, dataset_label_map, voc_annotations
from object_detection_mtl.dataset_tools.annotated_images import (
    AnnotatedObject,
    AnnotatedPicture,
    raise_all,
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One annotation and where its picture is (None: nowhere)."""

    annotation: voc_annotations.VocAnnotation
    image_path: Path | None


def collect_jobs(
    folders: Iterable[Path],
    set_name: str | None = None,
    annotations_dir: str = voc_annotations.ANNOTATIONS,
    images_dir: str = voc_annotations.IMAGES,
) -> list[Job]:
    """Reads every annotation of a set and finds its picture.

    Raises:
      VocError: annotations that cannot be read (all of them are named), or two of one picture.
      FileNotFoundError: a folder, a set, an annotation file, or all pictures are not there.
    """
    jobs = []
    for folder in folders:
        finder = voc_annotations.ImageFinder(folder, images_dir)
        files = voc_annotations.annotation_files(folder, set_name, annotations_dir)
        found = [Job(annotation, finder.find(annotation)) for annotation in parse_all(files)]
        if all(job.image_path is None for job in found):
            raise FileNotFoundError(
                f"{finder.directory} holds none of the {len(found)} pictures that the annotations "
                f"name, such as {_picture_name(found[0].annotation)!r}; name the folder of the "
                "pictures with --images_dir"
            )
        jobs += found
    owners: dict[str, Path] = {}
    for job in jobs:
        if job.image_path is None:
            continue
        owner = owners.setdefault(job.image_path.name, job.annotation.path)
        if owner != job.annotation.path:
            raise voc_annotations.VocError(
                f"{owner} and {job.annotation.path} both belong to a picture named "
                f"{job.image_path.name}. Evaluation tells pictures apart by their names: correct "
                "<filename>, or convert folders that share names into records of their own"
            )
    return jobs


def parse_all(files: Sequence[Path]) -> list[voc_annotations.VocAnnotation]:
    """Parses annotation files; one VocError names all that cannot be read."""
    annotations, errors = [], []
    for path in tqdm(files, desc="annotations", unit="file", disable=None):
        try:
            annotations.append(voc_annotations.parse_annotation(path))
        except voc_annotations.VocError as error:
            errors.append(str(error))
    raise_all(errors, voc_annotations.VocError)
    return annotations


def check_classes(jobs: Iterable[Job], labels: Mapping[str, int], label_map_name: str) -> None:
    """Raises DataError if the label map lacks classes, naming each with a file that has it."""
    places: dict[str, str] = {}
    for job in jobs:
        for item in job.annotation.objects:
            places.setdefault(item.name, str(job.annotation.path))
    dataset_label_map.check_classes(places, labels, label_map_name)


def load_pictures(
    folders: Iterable[Path],
    labels: Mapping[str, int],
    *,
    set_name: str | None = None,
    annotations_dir: str = voc_annotations.ANNOTATIONS,
    images_dir: str = voc_annotations.IMAGES,
    label_map_name: str = "",
    ignore_difficult_instances: bool = False,
) -> list[AnnotatedPicture]:
    """Everything from folders to pictures: see `collect_jobs`, `check_classes`, `as_pictures`."""
    jobs = collect_jobs(folders, set_name, annotations_dir, images_dir)
    check_classes(jobs, labels, label_map_name)
    return as_pictures(jobs, labels, ignore_difficult_instances=ignore_difficult_instances)


def as_pictures(
    jobs: Iterable[Job], labels: Mapping[str, int], *, ignore_difficult_instances: bool = False
) -> list[AnnotatedPicture]:
    """The pictures of a data set.

    Args:
      jobs: from `collect_jobs`, checked by `check_classes`.
      labels: class name to number, 1..K.
      ignore_difficult_instances: leave out objects marked as difficult.
    """
    return [_as_picture(job, labels, ignore_difficult_instances) for job in jobs]


def _as_picture(job: Job, labels: Mapping[str, int], ignore_difficult: bool) -> AnnotatedPicture:
    annotation = job.annotation
    stated = (annotation.height, annotation.width)
    name = job.image_path.name if job.image_path is not None else _picture_name(annotation)
    return AnnotatedPicture(
        path=job.image_path,
        filename=name,
        source_id=name,
        origin=annotation.path.name,
        size=None if None in stated else (int(stated[0] or 0), int(stated[1] or 0)),
        objects=tuple(
            AnnotatedObject(
                name=item.name,
                label=labels[item.name],
                ymin=item.ymin,
                xmin=item.xmin,
                ymax=item.ymax,
                xmax=item.xmax,
                details={
                    "difficult": item.difficult,
                    "truncated": item.truncated,
                    "view": item.pose,
                },
                left_out=conversion_report.DIFFICULT
                if ignore_difficult and item.difficult
                else None,
            )
            for item in annotation.objects
        ),
        details=("difficult", "truncated", "view"),
    )


def _picture_name(annotation: voc_annotations.VocAnnotation) -> str:
    return annotation.filename or annotation.path.stem


def derive_label_map(folders: Iterable[Path], annotations_dir: str, path: Path) -> None:
    """Writes a label map of every class of the folders, whatever their set, in alphabetical order.

    Raises:
      FileExistsError: another label map stands there already.
      IsADirectoryError: a folder does.
      VocError: the annotations name no class at all, or cannot be read.
    """
    dataset_label_map.refuse_folder(path)
    annotations = [
        annotation
        for folder in folders
        for annotation in parse_all(voc_annotations.all_annotation_files(folder, annotations_dir))
    ]
    names = voc_annotations.class_names(annotations)
    if not names:
        raise voc_annotations.VocError(
            "no annotation names an object: there is no label map to derive"
        )
    dataset_label_map.write({name: number for number, name in enumerate(names, start=1)}, path)
