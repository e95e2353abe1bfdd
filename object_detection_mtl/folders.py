"""Making the folders that output goes to."""

from __future__ import annotations

from pathlib import Path


def make(path: str | Path) -> None:
    """Makes a folder, with those above it, where it is not there yet.

    Raises:
        OSError: it cannot be made. Where the folder above takes none (/proc is such a one), the
            system says "no such file", which sounds as if the user had to make it first.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        raise PermissionError(
            f"the folder {str(path)!r} cannot be made: {str(above)!r} takes no new ones; choose "
            "another path"
        ) from error
