"""Where the drawn pictures go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from object_detection_mtl.inference.sources.input_files import Kind, PictureFile


def plan(files: Sequence[PictureFile], directory: Path) -> list[Path]:
    """A name of its own for each file, as below the folders that were searched.

    That of a picture is where it is drawn, that of a record or video the folder of its pictures.

    Raises:
        ValueError: one of the files would be overwritten.
    """
    targets: list[Path] = []
    taken: set[Path] = set()
    sources = {file.path.resolve() for file in files}
    folders = {path.parent for path in sources}
    for file in files:
        is_picture = file.kind == Kind.PICTURE
        plain = directory / (file.name.with_suffix(".jpg") if is_picture else file.name)
        target, number = plain, 1
        while target in taken:
            number += 1
            target = plain.with_name(f"{plain.stem}-{number}{plain.suffix}")
        if target.resolve() in (sources if is_picture else folders):
            raise ValueError(
                f"drawing on {str(file.path)!r} would overwrite the picture {str(target)!r}; give "
                "another --output_dir"
            )
        taken.add(target)
        targets.append(target)
    return targets
