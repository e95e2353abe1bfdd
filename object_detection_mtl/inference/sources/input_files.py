"""Find the input files of a detection run: images, TFRecords, videos."""

from __future__ import annotations

import enum
import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from object_detection_mtl.config.errors import suggestion
from object_detection_mtl.data import record_files

# Searched for in directories. HEIC cannot be decoded, nor AVIF by every Pillow: such files are
# found so that they are counted as skipped. A file that is named is read as an image whatever its
# extension.
IMAGE_EXTENSIONS = frozenset(
    (
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
    )
    + (".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
VIDEO_EXTENSIONS = frozenset(
    (".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg")
    + (".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv")
)
# train.record, train.tfrecord, train.record-00003-of-00010
_RECORD_NAME = re.compile(r"\.(tf)?records?(-\d+-of-\d+)?$", re.IGNORECASE)
_PATTERN_LETTERS = frozenset("*?[")


class FileKind(enum.Enum):
    """Kind of an input file."""

    IMAGE = "image"
    RECORD = "record"
    VIDEO = "video"


@dataclass(frozen=True)
class InputFile:
    """An input file: one image, or a file of several.

    Attributes:
        path: The file.
        name: Path below the directory that was searched, else the file name.
        kind: How the file is read.
    """

    path: Path
    name: Path
    kind: FileKind = FileKind.IMAGE


def find_input_files(
    arguments: Iterable[str], *, recursive: bool = False, without: Path | None = None
) -> list[InputFile]:
    """Return the files of paths, directories and patterns, each once, directories by name.

    Args:
        arguments: Files, directories (their images, by extension), or patterns such as
            `photos/*.jpg`; `**` in a pattern stands for any number of directories. Files that are
            named or matched may also be records and videos (see `file_kind`).
        recursive: Search the subdirectories of a directory, too.
        without: Directory that is not searched.

    Raises:
        FileNotFoundError: No argument, a missing file, a pattern without a match, or a directory
            without images.
    """
    found: dict[Path, InputFile] = {}
    for argument in arguments:
        for file in _expand_argument(argument, recursive, without):
            found.setdefault(file.path.resolve(), file)
    if not found:
        raise FileNotFoundError("no image was given; name files, directories or patterns")
    return list(found.values())


def file_kind(path: Path) -> FileKind:
    """Return the kind of a file: images and videos by extension, TFRecords by content.

    A TFRecord starts with a checksum, so it may have any name. One that is empty, compressed or
    corrupt at its start is recognized by an extension such as .record or .tfrecord-00000-of-00010.
    """
    extension = path.suffix.lower()
    if extension in IMAGE_EXTENSIONS:
        return FileKind.IMAGE
    if extension in VIDEO_EXTENSIONS:
        return FileKind.VIDEO
    if _RECORD_NAME.search(path.name) or (path.is_file() and _starts_like_record(path)):
        return FileKind.RECORD
    return FileKind.IMAGE


def _expand_argument(argument: str, recursive: bool, without: Path | None) -> list[InputFile]:
    path = Path(os.path.expanduser(argument))
    if argument and path.is_dir():
        return _images_in_directory(path, recursive, without)
    if argument and path.exists():
        return [_named_file(path)]
    if _PATTERN_LETTERS & set(argument):
        return _matching_files(argument)
    directory = path.parent
    if directory.is_dir():
        hint = suggestion(path.name, (entry.name for entry in directory.iterdir()))
    else:
        hint = f"; the directory {str(directory)!r} does not exist either"
    raise FileNotFoundError(f"no file or directory {argument!r}{hint}")


def _images_in_directory(directory: Path, recursive: bool, without: Path | None) -> list[InputFile]:
    excluded = without.resolve() if without is not None else None
    candidates = directory.rglob("*") if recursive else directory.iterdir()
    paths = sorted(
        path
        for path in candidates
        if path.suffix.lower() in IMAGE_EXTENSIONS
        and not path.name.startswith(".")
        and not path.is_dir()  # Dangling links and pipes are skipped and named when they are read.
        and (excluded is None or excluded not in path.resolve().parents)
    )
    if (
        not paths
        and excluded is not None
        and excluded in (directory.resolve(), *directory.resolve().parents)
    ):
        raise FileNotFoundError(
            f"directory {str(directory)!r} is the output directory, which is not searched for "
            "input; choose another output directory"
        )
    if not paths:
        below = (
            "; to search its subdirectories, give --recursive (in Python: detect_files(..., "
            "recursive=True))"
        )
        raise FileNotFoundError(
            f"directory {str(directory)!r} has no image{'' if recursive else below}"
        )
    return [InputFile(path, path.relative_to(directory)) for path in paths]


def _matching_files(pattern: str) -> list[InputFile]:
    matches = sorted(Path(p) for p in glob.glob(os.path.expanduser(pattern), recursive=True))
    files = [_named_file(path) for path in matches if path.is_file()]
    if not files:
        directories = " (only directories do)" if matches else ""
        raise FileNotFoundError(f"no file matches {pattern!r}{directories}")
    return files


def _named_file(path: Path) -> InputFile:
    return InputFile(path, Path(path.name), file_kind(path))


def _starts_like_record(path: Path) -> bool:
    try:
        return record_files.is_record_file(str(path))
    except OSError:  # Reported when the file is read.
        return False
