"""Import hook that answers `import object_detection` with `object_detection_mtl.odapi`."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

from object_detection_mtl.odapi.missing_names import PACKAGE

ROOT = "object_detection"


class _AliasLoader(importlib.abc.Loader):
    """Puts the module of `PACKAGE` under the name of the OD API's module."""

    def __init__(self, target: str) -> None:
        self._target = target

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what is under the name afterwards.
        sys.modules[module.__name__] = importlib.import_module(self._target)


class _AliasFinder(importlib.abc.MetaPathFinder):
    """Finds every module below `object_detection`, installed ones included."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != ROOT and not fullname.startswith(f"{ROOT}."):
            return None
        aliased = PACKAGE + fullname.removeprefix(ROOT)
        found = sys.modules.get(aliased) or importlib.util.find_spec(aliased)
        if found is None:
            return None
        locations = getattr(found, "__path__", None)
        if isinstance(found, importlib.machinery.ModuleSpec):
            locations = found.submodule_search_locations
        return importlib.machinery.ModuleSpec(
            fullname, _AliasLoader(aliased), is_package=locations is not None
        )


_FINDER = _AliasFinder()


def install() -> None:
    """Let `object_detection` mean `object_detection_mtl.odapi` in this process.

    Raises:
        ImportError: another `object_detection` is already imported.
    """
    loaded = sys.modules.get(ROOT)
    if loaded is not None and loaded.__name__ != PACKAGE:
        raise ImportError(
            f"{ROOT} is already imported from {getattr(loaded, '__file__', 'elsewhere')}; restart "
            f"Python and load {PACKAGE} first"
        )
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def uninstall() -> None:
    """Undo `install`."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    for name in [name for name in sys.modules if name == ROOT or name.startswith(f"{ROOT}.")]:
        del sys.modules[name]
