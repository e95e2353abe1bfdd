"""Files with pictures from what a user typed, and decoding as the detector needs it.

Shape letters: H W a picture.
"""

from __future__ import annotations

import enum
import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from object_detection_mtl.config.errors import suggestion
from object_detection_mtl.data import record_files
from object_detection_mtl.data.image_files import ImageError as PictureError  # noqa: F401
from object_detection_mtl.data.image_files import decode_image as decode  # noqa: F401
from object_detection_mtl.data.image_files import encode_png as to_png  # noqa: F401
from object_detection_mtl.data.image_files import (  # noqa: F401
    ignore_size_warnings as large_pictures_without_warning,
)
from object_detection_mtl.data.image_files import read_image as read  # noqa: F401

# What is taken from a folder. A file that is named is tried whatever it is called.
ENDINGS = frozenset(
    ".bmp .dib .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
VIDEO_ENDINGS = frozenset(
    ".3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
# train.record, train.tfrecord, train.record-00003-of-00010
_RECORD_NAME = re.compile(r"\.(tf)?records?(-\d+-of-\d+)?$", re.IGNORECASE)
_PATTERN_LETTERS = frozenset("*?[")


class Kind(enum.Enum):
    PICTURE = "picture"
    RECORD = "record"
    VIDEO = "video"


@dataclass(frozen=True)
class PictureFile:
    """A file to look at: a picture, or one that holds several.

    Attributes:
        path: the file.
        name: its path below the folder that was searched, else its file name.
        kind: what it is taken for.
    """

    path: Path
    name: Path
    kind: Kind = Kind.PICTURE


def find(
    arguments: Iterable[str], *, recursive: bool = False, without: Path | None = None
) -> list[PictureFile]:
    """The files that paths, folders and patterns mean, each once, those of a folder by name.

    Args:
        arguments: files, folders (pictures in it, known by their endings), or patterns such as
            `photos/*.jpg`; `**` in a pattern means any number of folders. Files that are named
            or match may be records and videos, too (see `kind_of`).
        recursive: search the folders below a folder, too.
        without: a folder that is left out when folders are searched.

    Raises:
        FileNotFoundError: nothing was asked for; there is no such file; a pattern matches nothing;
            a folder holds no picture.
    """
    found: dict[Path, PictureFile] = {}
    for argument in arguments:
        for file in _expand(argument, recursive, without):
            found.setdefault(file.path.resolve(), file)
    if not found:
        raise FileNotFoundError("no picture was given; name files, folders or patterns")
    return list(found.values())


def _expand(argument: str, recursive: bool, without: Path | None) -> list[PictureFile]:
    path = Path(os.path.expanduser(argument))
    if argument and path.is_dir():
        return _in_folder(path, recursive, without)
    if argument and path.exists():
        return [_named(path)]
    if _PATTERN_LETTERS & set(argument):
        return _matching(argument)
    folder = path.parent
    if folder.is_dir():
        hint = suggestion(path.name, (entry.name for entry in folder.iterdir()))
    else:
        hint = f"; the folder {str(folder)!r} does not exist either"
    raise FileNotFoundError(f"no file or folder {argument!r}{hint}")


def _in_folder(folder: Path, recursive: bool, without: Path | None) -> list[PictureFile]:
    excluded = without.resolve() if without is not None else None
    candidates = folder.rglob("*") if recursive else folder.iterdir()
    paths = sorted(
        path
        for path in candidates
        if path.suffix.lower() in ENDINGS
        and not path.name.startswith(".")
        and path.is_file()
        and (excluded is None or excluded not in path.resolve().parents)
    )
    if (
        not paths
        and excluded is not None
        and excluded in (folder.resolve(), *folder.resolve().parents)
    ):
        raise FileNotFoundError(
            f"folder {str(folder)!r} is where the output goes, where no input is searched; "
            "choose another output folder"
        )
    if not paths:
        below = "" if recursive else "; --recursive searches the folders in it as well"
        raise FileNotFoundError(f"folder {str(folder)!r} holds no picture{below}")
    return [PictureFile(path, path.relative_to(folder)) for path in paths]


def _matching(pattern: str) -> list[PictureFile]:
    matches = sorted(Path(p) for p in glob.glob(os.path.expanduser(pattern), recursive=True))
    files = [_named(path) for path in matches if path.is_file()]
    if not files:
        folders = " (only folders do)" if matches else ""
        raise FileNotFoundError(f"no file matches {pattern!r}{folders}")
    return files


def _named(path: Path) -> PictureFile:
    return PictureFile(path, Path(path.name), kind_of(path))


def kind_of(path: Path) -> Kind:
    """What a file is taken for: pictures and videos by their endings, TFRecords by their content.

    A TFRecord starts with a checksum, so that it may have any name; one that is empty, compressed
    or damaged at its start is still known by an ending such as .record or .tfrecord-00000-of-00010.
    """
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return Kind.PICTURE
    if ending in VIDEO_ENDINGS:
        return Kind.VIDEO
    if _RECORD_NAME.search(path.name) or (path.is_file() and _starts_like_record(path)):
        return Kind.RECORD
    return Kind.PICTURE


def _starts_like_record(path: Path) -> bool:
    try:
        return record_files.is_record_file(str(path))
    except OSError:  # whoever reads it will say so
        return False


def with_size(error: Exception, picture: np.ndarray) -> str:
    """What is wrong with a picture [H, W, 3], where its size may be the reason."""
    height, width = picture.shape[:2]
    return f"{error} ({width}x{height} pixels)"
