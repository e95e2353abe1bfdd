"""Annotated images: the common input of all converters.

Coordinates are pixels of the image as it was annotated, (xmin, ymin) upper left. They may be
fractions and may lie outside the image; record_conversion.py clips the boxes.

Loads neither TensorFlow nor image files. All objects can be sent to another process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from object_detection_mtl.config.errors import shortened


class DataError(ValueError):
    """A dataset is invalid; the message names the file."""


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object.

    Attributes:
        name: name of its class.
        label: number of its class in the label map.
        ymin: upper edge of its box.
        xmin: left edge of its box.
        ymax: lower edge of its box.
        xmax: right edge of its box.
        details: values of the optional lists of `data.example_format.build_example`, by the names
            of its arguments.
        drop_reason: why the object is not stored, or None. Stored auxiliary labels are made from
            all objects, those that are not stored included.
    """

    name: str
    label: int
    ymin: float
    xmin: float
    ymax: float
    xmax: float
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drop_reason: str | None = None


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image with its objects.

    Attributes:
        path: the image file, or None if it is missing.
        filename: its name in the record.
        source_id: its identifier in evaluation.
        origin: name of the annotation in reports.
        size: height and width as the annotation states them, or None if it does not.
        objects: all of them.
        details: names of the details that every object has.
    """

    path: Path | None
    filename: str
    source_id: str
    origin: str
    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]
    details: tuple[str, ...] = ()


def list_names(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names, separated by commas, and the number of the others."""
    shown = ", ".join(map(shortened, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def require_pixels(
    boxes: Sequence[Sequence[float]], place: str | Path, kind: type[DataError]
) -> None:
    """Raise an error of `kind` if all boxes of a dataset look like fractions of their images.

    Args:
        boxes: four numbers each; the names of the sides do not matter.
        place: where the boxes come from.
        kind: class of the error.
    """
    values = [value for box in boxes for value in box]
    if values and all(0 <= value <= 1 for value in values) and any(v % 1 for v in values):
        raise kind(
            f"{place}: all {len(boxes)} boxes lie in 0..1 (the first is {list(boxes[0])}): they "
            "look like fractions of the image, expected pixels. Multiply horizontal numbers by "
            "the width of the image, vertical ones by its height"
        )


def raise_errors(errors: Sequence[str], kind: type[DataError], limit: int = 10) -> None:
    """Raise one error of `kind` that lists all errors, if there are any."""
    if errors:
        rest = f"\n... and {len(errors) - limit} more" if len(errors) > limit else ""
        raise kind("\n".join(errors[:limit]) + rest)
