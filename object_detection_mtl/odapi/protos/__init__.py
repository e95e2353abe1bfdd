"""The schema's modules under the OD API's names: `odapi.protos.pipeline_pb2` and so on.

They are the modules of `object_detection_mtl.protos` themselves, so that every message has one
descriptor.
"""

import importlib
import pkgutil
import sys

from object_detection_mtl import protos
from object_detection_mtl.odapi import missing_names

for _module in pkgutil.iter_modules(protos.__path__):
    if _module.name.endswith("_pb2"):
        _found = importlib.import_module(f"{protos.__name__}.{_module.name}")
        sys.modules[f"{__name__}.{_module.name}"] = _found
        globals()[_module.name] = _found

__getattr__ = missing_names.package_getattr(__name__)
