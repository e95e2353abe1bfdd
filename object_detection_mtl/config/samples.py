"""Paths of the sample configs and label maps, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from object_detection_mtl.config.errors import suggestion

_PACKAGE = Path(__file__).resolve().parent.parent
# A wheel contains the first; a checkout (and an editable install) has the second.
_CONFIG_DIRECTORIES = (_PACKAGE / "samples" / "configs", _PACKAGE.parent / "samples" / "configs")
_LABEL_MAPS = _PACKAGE / "label_maps"


def _files(directory: Path, pattern: str) -> dict[str, Path]:
    return {path.name: path for path in sorted(directory.glob(pattern))}


def _config_directory() -> Path:
    existing = (directory for directory in _CONFIG_DIRECTORIES if directory.is_dir())
    return next(existing, _CONFIG_DIRECTORIES[0])


def configs() -> dict[str, Path]:
    """Return the sample configurations: file name -> path."""
    return _files(_config_directory(), "*.config")


def label_maps() -> dict[str, Path]:
    """Return the label maps, those beside the sample configurations included: name -> path."""
    return _files(_config_directory(), "*.pbtxt") | _files(_LABEL_MAPS, "*.pbtxt")


def path(name: str) -> Path:
    """Return the path of one sample configuration or label map, by file name.

    Raises:
        FileNotFoundError: there is no such file; the message suggests the nearest name.
    """
    known = configs() | label_maps()
    if name not in known:
        raise FileNotFoundError(f'sample "{name}" does not exist{suggestion(name, known)}')
    return known[name]
