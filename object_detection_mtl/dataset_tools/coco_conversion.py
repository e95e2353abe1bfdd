"""From COCO instances files to the form that all converters share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from object_detection_mtl.dataset_tools import coco_annotations, dataset_label_map
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedObject, AnnotatedPicture

DETAILS = ("is_crowd", "area")


def check_classes(
    file: coco_annotations.CocoFile, labels: Mapping[str, int], label_map_name: str
) -> None:
    """Raises DataError if the label map lacks classes, naming each with a picture that has it."""
    places: dict[str, str] = {}
    for picture in file.pictures:
        for item in picture.objects:
            places.setdefault(item.category, f"picture {picture.id} ({picture.file_name})")
    dataset_label_map.check_classes(places, labels, label_map_name)


def load_pictures(
    path: str | Path,
    image_dir: str | Path,
    labels: Mapping[str, int],
    *,
    label_map_name: str = "",
) -> list[AnnotatedPicture]:
    """Everything from a file to pictures: see `coco.read`, `check_classes`, `as_pictures`."""
    file = coco_annotations.read(path)
    check_classes(file, labels, label_map_name)
    return as_pictures(file, image_dir, labels)


def as_pictures(
    file: coco_annotations.CocoFile, image_dir: str | Path, labels: Mapping[str, int]
) -> list[AnnotatedPicture]:
    """The pictures of a data set, those without object too.

    Args:
      file: checked by `check_classes`.
      image_dir: folder of the picture files.
      labels: class name to number, 1..K.

    Raises:
      FileNotFoundError: there is no such folder, or none of the pictures is in it.
    """
    folder = Path(image_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"--image_dir: there is no folder {str(image_dir)!r}")
    pictures = [
        AnnotatedPicture(
            path=coco_annotations.find_picture(folder, picture.file_name),
            filename=picture.file_name,
            source_id=str(picture.id),
            origin=picture.file_name,
            size=_size(picture),
            objects=tuple(_as_object(item, labels) for item in picture.objects),
            details=DETAILS,
        )
        for picture in tqdm(file.pictures, desc="annotations", unit="picture", disable=None)
    ]
    if all(picture.path is None for picture in pictures):
        raise FileNotFoundError(
            f"--image_dir {str(image_dir)!r} holds none of the {len(pictures)} pictures that "
            f"{file.path} lists, such as {pictures[0].filename!r}"
        )
    return pictures


def _size(picture: coco_annotations.CocoPicture) -> tuple[int, int] | None:
    if picture.height is None or picture.width is None:
        return None
    return picture.height, picture.width


def _as_object(item: coco_annotations.CocoObject, labels: Mapping[str, int]) -> AnnotatedObject:
    return AnnotatedObject(
        name=item.category,
        label=labels[item.category],
        ymin=item.y,
        xmin=item.x,
        ymax=item.y + item.height,
        xmax=item.x + item.width,
        details={"is_crowd": item.is_crowd, "area": item.area},
    )
