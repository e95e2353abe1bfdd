"""The OD API's Python interface, implemented by this package.

Modules and functions have the OD API's names (`odapi.utils.label_map_util`, `odapi.builders
.model_builder`, ...). Scripts use it in two ways: with `object_detection` replaced by
`object_detection_mtl.odapi` in their imports, or unchanged by

    python -m object_detection_mtl.odapi script.py arguments

and in notebooks by `%load_ext object_detection_mtl.odapi`. docs/guides/od_api_scripts.md lists
the names and the differences.
"""

from __future__ import annotations

import sys
from typing import Any

from object_detection_mtl.cli import process_settings
from object_detection_mtl.odapi import eager_scalars, import_hook, missing_names

process_settings.quiet_tensorflow()  # before eager_scalars imports it
if missing_names.MissingModuleFinder not in sys.meta_path:
    sys.meta_path.append(missing_names.MissingModuleFinder)
eager_scalars.allow_one_element()

__getattr__ = missing_names.package_getattr(__name__)


def load_ipython_extension(ipython: Any) -> None:
    """Answer `import object_detection` in a notebook: `%load_ext object_detection_mtl.odapi`."""
    import_hook.install()


def unload_ipython_extension(ipython: Any) -> None:
    """Undo `load_ipython_extension`."""
    import_hook.uninstall()
