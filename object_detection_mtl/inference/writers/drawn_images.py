"""Drawings of detections: file names, and saving them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from object_detection_mtl import visualization
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.sources.input_files import FileKind, InputFile

# JPEG does not allow longer sides.
_MAX_JPEG_SIDE = 65500


def plan_drawings(files: Sequence[InputFile], directory: Path) -> list[Path]:
    """Return a unique path for each file, with the subdirectories that were searched.

    The path is the drawing of an image file, or the directory for the drawings of a record or
    video.

    Raises:
        ValueError: An input file would be overwritten.
    """
    targets: list[Path] = []
    taken: set[Path] = set()
    sources = {file.path.resolve() for file in files}
    directories = {path.parent for path in sources}
    for file in files:
        is_image = file.kind == FileKind.IMAGE
        plain = directory / (file.name.with_suffix(".jpg") if is_image else file.name)
        target, number = plain, 1
        while target in taken:
            number += 1
            target = plain.with_name(f"{plain.stem}-{number}{plain.suffix}")
        if target.resolve() in (sources if is_image else directories):
            raise ValueError(
                f"the drawing of {str(file.path)!r} would overwrite the image {str(target)!r}; "
                "give another --output_dir"
            )
        taken.add(target)
        targets.append(target)
    return targets


def save_drawing(
    image: np.ndarray, detections: ImageDetections, target: Path, options: DetectionOptions
) -> None:
    """Draw the detections on an image [H, W, 3] and save it; as PNG if JPEG is too small."""
    drawn = visualization.draw_boxes(
        image,
        detections.boxes,
        detections.classes,
        detections.scores,
        names=options.class_names,
        min_score=options.min_score,
    )
    if max(drawn.shape) > _MAX_JPEG_SIDE:
        target = target.with_suffix(".png")
    visualization.save_image(drawn, target)
