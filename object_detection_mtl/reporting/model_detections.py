"""Detections of a model in the images of a dataset, resumable.

A progress file has a header that names model and dataset, then a line for each finished image. A
run with the same header continues after the last complete line, and detects again in images that
changed. Images are decoded as in training.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from tqdm import tqdm

from object_detection_mtl import output_paths
from object_detection_mtl.config.errors import printable
from object_detection_mtl.data import annotated_pixels
from object_detection_mtl.reporting.evaluated_images import (
    DetectedObjects,
    EvaluatedImage,
    EvaluationSet,
    make_detections,
    with_detections,
)


class FoundObjects(Protocol):
    """Result of a predictor for an image, such as `inference.predictor.ImageDetections`."""

    @property
    def boxes(self) -> np.ndarray:
        """Boxes [N, 4], normalized."""

    @property
    def scores(self) -> np.ndarray:
        """Scores [N]."""

    @property
    def classes(self) -> np.ndarray:
        """Classes [N], from 1."""


def detect_in_images(
    load_predictor: Callable[[], Callable[[np.ndarray], FoundObjects]],
    groundtruth: EvaluationSet,
    name: str,
    *,
    model: str,
    progress_path: str | Path | None = None,
    skip_unknown: bool = False,
) -> EvaluationSet:
    """Return the images of `groundtruth` with the detections of a model.

    Args:
        load_predictor: returns a function from an image [H, W, 3] uint8 to its detections; it is
            called only where an image is left to detect in.
        groundtruth: images that can be read.
        name: name of the detector.
        model: identifies the model's content; detections of another model are not reused.
        progress_path: path of the progress file; None for none.
        skip_unknown: skip and count detections of classes that the label map lacks.

    Raises:
        ValueError: an image cannot be read; its name and the reason.
    """
    header = {"model": model, "images": [image.image_id for image in groundtruth.images]}
    detected: dict[str, DetectedObjects] = {}
    if progress_path is not None:
        detected = _read_progress(Path(progress_path), header, groundtruth)
    remaining = [image for image in groundtruth.images if image.image_id not in detected]
    if remaining:
        predict = load_predictor()
        finished = [
            (image, detected[image.image_id])
            for image in groundtruth.images
            if image.image_id in detected
        ]
        with _ProgressFile(progress_path, header, finished) as progress:
            for image in tqdm(remaining, desc=printable(name), unit="image", disable=None):
                found = _detect(predict, image)
                detected[image.image_id] = found
                progress.add(image, found)
    notes = groundtruth.notes + groundtruth.note_on_class_numbers()
    groundtruth = dataclasses.replace(groundtruth, notes=notes)
    return with_detections(groundtruth, detected, name, skip_unknown=skip_unknown, source=name)


def _detect(
    predict: Callable[[np.ndarray], FoundObjects], image: EvaluatedImage
) -> DetectedObjects:
    if image.read_bytes is None:
        raise ValueError(
            f"image {image.image_id!r} has no image file; the images of a COCO file are found with "
            "--image_dir"
        )
    try:
        pixels = image.decode()
    except (OSError, ValueError) as error:
        raise ValueError(f"image {image.image_id!r}: {error}") from error
    found = predict(pixels)
    height, width = pixels.shape[0], pixels.shape[1]
    if image.is_file:
        height, width = annotated_pixels.annotation_size(
            (height, width), (image.height, image.width)
        )
    boxes = np.asarray(found.boxes, np.float64) * [height, width, height, width]
    return DetectedObjects(make_detections(boxes, found.scores, found.classes))


def _content(image: EvaluatedImage) -> str | None:
    """Return a text that changes with pixels and annotated size; None for an unreadable image."""
    try:
        data = image.read_bytes() if image.read_bytes else None
    except (OSError, ValueError):
        return None
    return None if data is None else f"{zlib.crc32(data):08x} {image.height}x{image.width}"


def _read_progress(
    path: Path, header: dict[str, Any], groundtruth: EvaluationSet
) -> dict[str, DetectedObjects]:
    """Return the detections of a progress file in images that did not change.

    There are none if its header differs. Those in images that are gone are kept.
    """
    if not path.is_file():
        return {}
    images = {image.image_id: image for image in groundtruth.images}
    detected = {}
    with path.open(encoding="utf-8") as file:
        if _parsed(file.readline()) != header:
            return {}
        for line in file:
            row = _parsed(line)
            if row is None:
                break
            content = _content(images[row["image_id"]])
            if content is not None and row.get("content") != content:
                continue
            found = make_detections(row["boxes"], row["scores"], row["classes"])
            detected[row["image_id"]] = DetectedObjects(found)
    return detected


def _parsed(line: str) -> Any:
    """Return the value of a complete line, else None."""
    if not line.endswith("\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


class _ProgressFile:
    """Writer of a progress file, which starts with the images that are already finished.

    Args:
        path: path of the file; None writes nothing.
        header: the first line.
        finished: finished images and their detections.
    """

    def __init__(
        self,
        path: str | Path | None,
        header: dict[str, Any],
        finished: Sequence[tuple[EvaluatedImage, DetectedObjects]],
    ) -> None:
        self._file: TextIO | None = None
        if path is None:
            return
        output_paths.make_directory(Path(path).parent)
        temporary = Path(f"{path}.incomplete")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header) + "\n")
            for image, found in finished:
                file.write(_line(image, found))
        temporary.replace(path)
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115, see __exit__

    def __enter__(self) -> _ProgressFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, image: EvaluatedImage, found: DetectedObjects) -> None:
        """Write a finished image."""
        if self._file:
            self._file.write(_line(image, found))
            self._file.flush()


def _line(image: EvaluatedImage, found: DetectedObjects) -> str:
    rows = found.detections
    values = {
        "image_id": image.image_id,
        "content": _content(image),
        "boxes": np.round(rows.boxes, 3).tolist(),
        "scores": np.round(rows.scores, 6).tolist(),
        "classes": rows.classes.tolist(),
    }
    return json.dumps(values) + "\n"
