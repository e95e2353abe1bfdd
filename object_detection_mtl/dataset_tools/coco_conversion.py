"""Annotated images from a COCO instances file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from object_detection_mtl.dataset_tools import coco_annotations, dataset_label_map
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage, AnnotatedObject

DETAILS = ("is_crowd", "area")


def check_classes(
    file: coco_annotations.CocoFile, labels: Mapping[str, int], label_map_name: str
) -> None:
    """Raise a DataError if the label map lacks classes; it names an image for each of them."""
    places: dict[str, str] = {}
    for image in file.images:
        for item in image.objects:
            places.setdefault(item.category, f"image {image.id} ({image.file_name})")
    dataset_label_map.check_classes(places, labels, label_map_name)


def load_images(
    path: str | Path,
    image_dir: str | Path,
    labels: Mapping[str, int],
    *,
    label_map_name: str = "",
) -> list[AnnotatedImage]:
    """Read a COCO instances file and return its annotated images.

    Args:
        path: the file.
        image_dir: directory of the image files.
        labels: class name -> number, 1..K.
        label_map_name: name of the label map in messages.

    Returns:
        The annotated images, those without objects included.
    """
    file = coco_annotations.read_coco_file(path)
    check_classes(file, labels, label_map_name)
    return to_annotated_images(file, image_dir, labels)


def to_annotated_images(
    file: coco_annotations.CocoFile, image_dir: str | Path, labels: Mapping[str, int]
) -> list[AnnotatedImage]:
    """Return the annotated images of a COCO instances file, those without objects included.

    Args:
        file: checked by `check_classes`.
        image_dir: directory of the image files.
        labels: class name -> number, 1..K.

    Returns:
        The annotated images in the order of the file.

    Raises:
        FileNotFoundError: the directory does not exist, or none of the images is in it.
        CocoError: two entries name the same image file.
    """
    directory = Path(image_dir)
    if not directory.is_dir():
        raise FileNotFoundError(f"--image_dir: the directory {str(image_dir)!r} does not exist")
    paths = coco_annotations.find_images(directory, file)
    images = [
        AnnotatedImage(
            path=path,
            filename=image.file_name,
            source_id=str(image.id),
            origin=image.file_name,
            size=_size(image),
            objects=tuple(_to_object(item, labels) for item in image.objects),
            details=DETAILS,
        )
        for image, path in zip(file.images, paths, strict=True)
    ]
    if all(image.path is None for image in images):
        raise FileNotFoundError(
            f"--image_dir {str(image_dir)!r} has none of the {len(images)} images that "
            f"{file.path} lists, such as {images[0].filename!r}"
        )
    return images


def _size(image: coco_annotations.CocoImage) -> tuple[int, int] | None:
    if image.height is None or image.width is None:
        return None
    return image.height, image.width


def _to_object(item: coco_annotations.CocoObject, labels: Mapping[str, int]) -> AnnotatedObject:
    return AnnotatedObject(
        name=item.category,
        label=labels[item.category],
        ymin=item.y,
        xmin=item.x,
        ymax=item.y + item.height,
        xmax=item.x + item.width,
        details={"is_crowd": item.is_crowd, "area": item.area},
    )
