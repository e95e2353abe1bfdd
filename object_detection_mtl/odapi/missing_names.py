"""Errors for modules and names of the OD API that this package does not have."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from object_detection_mtl.config.errors import listing, suggestion

PACKAGE = "object_detection_mtl.odapi"
_DIRECTORY = Path(__file__).parent
_ONE_CALL_TRAINS = "it needs TensorFlow 1. model_lib_v2 has train_loop and eval_continuously"
_NO_OTHER_MODELS = "builders.model_builder.build makes every model; Faster R-CNN and R-FCN exist"

# Modules of the OD API, by the start of their path -> what to use instead.
ADVICE = {
    "legacy": _ONE_CALL_TRAINS,
    "trainer": _ONE_CALL_TRAINS,
    "evaluator": _ONE_CALL_TRAINS,
    "train": _ONE_CALL_TRAINS,
    "eval": _ONE_CALL_TRAINS,
    "model_lib": _ONE_CALL_TRAINS,
    "model_hparams": "it needs TensorFlow 1. config_override of config_util changes a config",
    "eval_util": _ONE_CALL_TRAINS,
    "exporter": "it needs TensorFlow 1. exporter_lib_v2 has export_inference_graph",
    "export_tflite_ssd_graph": "SSD is unsupported",
    "export_tflite_graph_lib_tf2": "SSD is unsupported",
    "meta_architectures": _NO_OTHER_MODELS,
    "models": _NO_OTHER_MODELS,
    "predictors": _NO_OTHER_MODELS,
    "anchor_generators": _NO_OTHER_MODELS,
    "box_coders": "object_detection_mtl.ops.box_coder encodes and decodes boxes",
    "matchers": "object_detection_mtl.ops.matcher matches boxes",
    "inference": "the command detect_objects detects in images, videos and records",
    "utils.np_mask_ops": "masks are unsupported",
    "utils.np_box_mask_list": "masks are unsupported",
    "core.box_list": "utils.np_box_list has BoxList for arrays",
    "core.box_list_ops": "utils.np_box_list_ops has the operations for arrays",
}


def missing_module_message(path: str) -> str:
    """Return the error text for a module of the OD API that does not exist here.

    Args:
        path: dotted path below `object_detection`.
    """
    start = path
    while start and start not in ADVICE:
        start = start.rpartition(".")[0]
    text = f"object_detection.{path} is not part of {PACKAGE}"
    if start:
        return f"{text}: {ADVICE[start]}"
    modules = public_names()
    leaf = path.rsplit(".", 1)[-1]
    same = [module for module in modules if module.rsplit(".", 1)[-1] == leaf]
    near = f"; did you mean {listing(same)}?" if same else suggestion(path, modules)
    return text + (near or f"; it has {listing(modules, 40)}")


@functools.cache
def public_names() -> dict[str, tuple[str, ...]]:
    """Return path of each module of the package -> its public names, without importing it."""
    found = {}
    for path in sorted(_DIRECTORY.rglob("*.py")):
        parts = path.relative_to(_DIRECTORY).with_suffix("").parts
        if parts[-1].startswith("__") or parts[0] in _OWN_MODULES:
            continue
        found[".".join(parts)] = _names_of(path)
    return found


# Modules that the OD API does not have.
_OWN_MODULES = (
    "detection_model",
    "eager_scalars",
    "evaluator_adapter",
    "import_hook",
    "in_place_drawing",
    "missing_names",
)


def _names_of(path: Path) -> tuple[str, ...]:
    names = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names += [alias.asname or alias.name for alias in node.names]
    return tuple(name for name in names if not name.startswith("_"))


def module_getattr(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module: an ImportError that names the nearest thing.

    Args:
        module: full name of the module.
    """
    path = module.removeprefix(f"{PACKAGE}.")

    def missing(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        everything = public_names()
        homes = [other for other, names in everything.items() if name in names]
        own = everything.get(path, ())
        hint = f"; it is in {listing(homes)}" if homes else suggestion(name, own)
        raise ImportError(
            f"{module} has no {name!r}{hint or f'; it has {listing(own, 40)}'}", name=module
        )

    return missing


def package_getattr(package: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package: it imports modules when they are first used.

    Args:
        package: full name of the package.
    """

    def import_or_explain(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        full_name = f"{package}.{name}"
        return importlib.import_module(full_name)  # MissingModuleFinder explains an absent one.

    return import_or_explain


class MissingModuleFinder:
    """The last finder of `sys.meta_path`: explains modules that the package does not have."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise a ModuleNotFoundError for a missing module below the package."""
        below = name.removeprefix(f"{PACKAGE}.")
        if below == name or below.rsplit(".", 1)[-1].startswith("_"):
            return None
        raise ModuleNotFoundError(missing_module_message(below), name=name)
