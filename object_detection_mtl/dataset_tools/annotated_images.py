"""Annotated pictures in the one form that every converter brings its data set into.

Coordinates are pixels of the picture as the annotation sees it, (xmin, ymin) upper left; they may
be fractions, and may lie outside the picture: what happens to them is said in conversion.py.

Loads neither TensorFlow nor pictures. All of it can be sent to another process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """A data set that is not what it should be; the message names the file."""


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object.

    Attributes:
      name, label: its class, as text and as number of the label map.
      ymin, xmin, ymax, xmax: its box.
      details: values of the optional lists of `data.example.build_example`, by its names for them.
      left_out: why the object is not stored, or None. The auxiliary labels of the others are made
        from all objects all the same: what is too difficult to be learnt from is still there.
    """

    name: str
    label: int
    ymin: float
    xmin: float
    ymax: float
    xmax: float
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: str | None = None


@dataclasses.dataclass(frozen=True)
class AnnotatedPicture:
    """One picture.

    Attributes:
      path: the file, or None where there is none.
      filename: its name in the record.
      source_id: the name by which evaluation tells pictures apart.
      origin: what a report calls the annotation.
      size: height and width as the annotation states them, or None where it does not.
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


def some(names: Sequence[str], limit: int = 8) -> str:
    """A listing of the first few names."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def raise_all(errors: Sequence[str], kind: type[DataError], limit: int = 10) -> None:
    """Raises one error that names all mistakes, if there are any."""
    if errors:
        rest = f"\n... and {len(errors) - limit} more" if len(errors) > limit else ""
        raise kind("\n".join(errors[:limit]) + rest)
