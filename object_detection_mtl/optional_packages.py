"""Optional packages: the extras of pyproject.toml."""

import importlib
from types import ModuleType


def import_package(package: str, extra: str, need: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: its name in Python.
        extra: the extra of object_detection_mtl that installs it.
        need: begins the message, such as "videos need OpenCV".

    Returns:
        The package.

    Raises:
        ValueError: it cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"{need} ({error}); pip install 'object_detection_mtl[{extra}]'"
        ) from error
