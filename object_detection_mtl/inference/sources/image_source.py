"""One file of a run's input: a `Source`, which knows how many pictures it holds.

An `Entry` is one of them, not decoded yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from object_detection_mtl.inference.sources.examples import Content


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes:
        apply_exif_orientation: see `pictures.decode`; videos are turned likewise. The pictures of
            records never are: the boxes beside them are of the picture as it is stored.
        with_example: make the `Content.example`.
        with_encoded: keep the picture's bytes in it.
    """

    apply_exif_orientation: bool = True
    with_example: bool = False
    with_encoded: bool = True


@dataclass(frozen=True)
class Entry:
    """One picture of the input.

    Attributes:
        label: what messages call it.
        place: where to draw it, below the folder or in place of the file of its source's target.
        load: reads and decodes it, in whatever thread or, sent there, process calls. Raises
            PictureError or OSError.
    """

    label: str
    load: Callable[[], Content]
    place: str = ""


class Source(Protocol):
    """The pictures of one file.

    Attributes:
        count: of the pictures; of a video, as its header has it.
        version: is another one when the file is.
    """

    @property
    def count(self) -> int: ...

    @property
    def version(self) -> str: ...

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[Entry | None]:
        """All pictures in their order, None for those of a place (from 0) that is done.

        Raises:
            PictureError, OSError: the file ends too early, or cannot be read.
        """


def version_of(path: Path, *more: object) -> str:
    """A file with several pictures, as it is now: its pictures' numbers hang on its content."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path} {error.strerror}"
    return " ".join(map(str, (path, status.st_size, status.st_mtime_ns, *more)))
