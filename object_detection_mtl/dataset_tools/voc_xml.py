"""PASCAL VOC annotation files: parsing.

Coordinates are pixels of the image, (xmin, ymin) upper left; they may be fractions. The width of a
box is xmax - xmin pixels, as in the OD API's converter, which keeps VOC's one-based corners.

The files may come from untrusted sources. Loads neither TensorFlow nor images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from object_detection_mtl.config.errors import shortened
from object_detection_mtl.data import image_files
from object_detection_mtl.dataset_tools import text_encodings
from object_detection_mtl.dataset_tools.annotated_images import DataError
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes

T = TypeVar("T")


class VocError(DataError):
    """A VOC directory or annotation file is invalid; the message names the file."""


@dataclasses.dataclass(frozen=True)
class VocObject:
    """One <object>. Coordinates are those of the file: pixels, possibly outside the image."""

    name: str
    ymin: float
    xmin: float
    ymax: float
    xmax: float
    difficult: bool = False
    truncated: bool = False
    pose: str = "Unspecified"


@dataclasses.dataclass(frozen=True)
class VocAnnotation:
    """One annotation file. `width` and `height` are None where <size> is absent or zero."""

    path: Path
    filename: str
    width: int | None
    height: int | None
    objects: tuple[VocObject, ...]


def parse_annotation(path: str | Path, notes: EntryNotes | None = None) -> VocAnnotation:
    """Parse an annotation file.

    Args:
        path: the file.
        notes: unusable objects are skipped and unusable sizes and flags replaced; they are added
            here. None: they are errors.

    Returns:
        The annotation.

    Raises:
        VocError: the file is unreadable, not well-formed XML, declares entities (which can expand
            without limit or read other files), or is not a VOC annotation; the message names the
            file and the place.
    """
    path = Path(path)
    try:
        data = text_encodings.xml_in_utf8(image_files.read_regular_file(path))
        root = defusedxml.ElementTree.fromstring(data)
    except OSError as error:
        raise VocError(f"{path} is unreadable: {error.strerror}") from error
    except ParseError as error:
        raise VocError(f"{path} is not well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise VocError(
            f"{path} is rejected: it declares XML entities or external references "
            f"({type(error).__name__}), which annotation files do not need. Remove them"
        ) from error
    except (ValueError, LookupError) as error:
        raise VocError(f"{path} is not readable as XML: {error}") from error
    if root.tag != "annotation":
        raise VocError(
            f"{path} is not a VOC annotation: its root element is <{shortened(root.tag)}>, "
            "expected <annotation>"
        )
    reader = _Reader(path, notes)
    objects = (
        reader.read(NO_OBJECT, _object, element, number, reader)
        for number, element in enumerate(root.findall("object"), start=1)
    )
    return VocAnnotation(
        path=path,
        filename=(root.findtext("filename") or "").strip(),
        width=reader.read(_NO_SIZE, _size, root.find("size"), "width"),
        height=reader.read(_NO_SIZE, _size, root.find("size"), "height"),
        objects=tuple(item for item in objects if item is not None),
    )


NO_OBJECT = "objects skipped, unusable"
_NO_SIZE = "annotations whose size is unusable, that of the image is used"
_NO_FLAG = "flags that are not 0 or 1, 0 is used"


class _Reader:
    """Reads values; an unusable one is noted, or an error if there are no notes."""

    def __init__(self, path: Path, notes: EntryNotes | None) -> None:
        self._path = path
        self._notes = notes

    def read(self, note: str, read: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return read(*arguments)
        except VocError as error:
            if self._notes is None:
                raise VocError(f"{self._path}: {error}") from None
            self._notes.add(note, f"{self._path.name}: {error}")
            return None


def _object(element: Element, number: int, reader: _Reader) -> VocObject:
    where = f"<object> number {number}"
    name = (element.findtext("name") or "").strip()
    if not name:
        raise VocError(f"{where} has no <name>")
    where += f" ({shortened(name)!r})"
    box = element.find("bndbox")
    if box is None:
        raise VocError(f"{where} has no <bndbox>")
    ymin, xmin, ymax, xmax = (_number(box, key, where) for key in ("ymin", "xmin", "ymax", "xmax"))
    return VocObject(
        name=name,
        ymin=ymin,
        xmin=xmin,
        ymax=ymax,
        xmax=xmax,
        difficult=bool(reader.read(_NO_FLAG, _flag, element, "difficult", where)),
        truncated=bool(reader.read(_NO_FLAG, _flag, element, "truncated", where)),
        pose=(element.findtext("pose") or "").strip() or "Unspecified",
    )


def _number(parent: Element, key: str, where: str) -> float:
    text = (parent.findtext(key) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{where}: <{key}> is {shortened(text)!r}, expected a number of pixels")
    return value


def _flag(parent: Element, key: str, where: str) -> bool:
    """Return a flag; absent and empty mean False, and some tools write words for 0 and 1."""
    text = (parent.findtext(key) or "").strip().lower()
    if text in ("", "0", "0.0", "false", "no", "unspecified"):
        return False
    if text in ("1", "1.0", "true", "yes"):
        return True
    raise VocError(f"{where}: <{key}> is {shortened(text)!r}, expected 0 or 1")


def _size(size: Element | None, key: str) -> int | None:
    if size is None or not (size.findtext(key) or "").strip():
        return None
    value = _number(size, key, "<size>")
    return int(value) if value > 0 else None
