"""A picture in a file of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from object_detection_mtl.inference.sources import examples, input_files
from object_detection_mtl.inference.sources.examples import Content
from object_detection_mtl.inference.sources.image_source import Entry, Reading
from object_detection_mtl.inference.sources.input_files import PictureFile


@dataclass(frozen=True)
class PictureSource:
    """One picture; see `sources.Source`."""

    file: PictureFile
    reading: Reading
    count: int = 1

    @property
    def version(self) -> str:
        return str(self.file.path)

    def entries(self, is_done: Callable[[int], bool]) -> Iterator[Entry | None]:
        load = functools.partial(_load, self.file.path, self.reading)
        yield None if is_done(0) else Entry(str(self.file.path), load)


def _load(path: Path, reading: Reading) -> Content:
    data = path.read_bytes()
    turn = reading.apply_exif_orientation
    picture = input_files.decode(data, apply_exif_orientation=turn)
    name = path.as_posix()
    example = None
    if reading.with_example:
        encoded = None
        if reading.with_encoded:
            encoded = examples.as_seen(data, picture, apply_exif_orientation=turn)
        example = examples.of_picture(picture, name, encoded)
    return Content(picture, {"file_name": name}, example)
