"""Where the sample configurations and label maps are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from object_detection_mtl.config.errors import suggestion

_PACKAGE = Path(__file__).resolve().parent.parent
# A wheel carries the first; in a checkout (and an editable install) the second is the original.
_CONFIG_FOLDERS = (_PACKAGE / "samples" / "configs", _PACKAGE.parent / "samples" / "configs")
_LABEL_MAPS = _PACKAGE / "label_maps"


def _files(folder: Path, pattern: str) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.glob(pattern))}


def _config_folder() -> Path:
    return next((folder for folder in _CONFIG_FOLDERS if folder.is_dir()), _CONFIG_FOLDERS[0])


def configs() -> dict[str, Path]:
    """Sample configurations: file name -> path."""
    return _files(_config_folder(), "*.config")


def label_maps() -> dict[str, Path]:
    """Label maps, those beside the sample configurations included: file name -> path."""
    return _files(_config_folder(), "*.pbtxt") | _files(_LABEL_MAPS, "*.pbtxt")


def path(name: str) -> Path:
    """The path of one sample configuration or label map, by file name.

    Raises:
      FileNotFoundError: if there is no such file, with the nearest name.
    """
    known = configs() | label_maps()
    if name not in known:
        raise FileNotFoundError(f'there is no sample "{name}"{suggestion(name, known)}')
    return known[name]
