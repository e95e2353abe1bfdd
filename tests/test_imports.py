"""Imports point to lower levels, and most of the package does not import TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import object_detection_mtl

PACKAGE = Path(object_detection_mtl.__file__).parent
NAME = "object_detection_mtl"

# Level of every module, longest prefix first. A module may import its own level and lower ones.
LEVELS = {
    "fields": 0,
    "optional_packages": 0,
    "output_paths": 0,
    "output_lock": 0,
    "beam_runtime": 0,
    "cpu_features": 0,
    "cli.command_line": 0,
    "cli.process_settings": 0,
    "cli.terminal_text": 0,
    "protos": 0,
    "config": 0,
    "backbones.registry": 0,
    "ops": 1,
    "mtl.labels": 1,
    "mtl.auxiliary_metrics": 1,
    "backbones": 2,
    "predictors": 2,
    "mtl": 2,
    "data": 2,
    "dataset_tools": 2,
    "visualization": 2,
    "checkpoints": 2,
    "models": 3,
    "evaluation": 3,
    "training": 3,
    "export": 3,
    "inference": 3,
    "inspection": 3,
    "reporting": 3,
    "builders": 4,
    "jobs": 5,
    "config_check": 5,
    "api": 5,
    "experiments": 5,
    "refiner_refit": 5,
    "model_main_tf2": 6,
    "exporter_main_v2": 6,
    "cli": 6,
    "try_tasks": 6,
    "odapi": 6,
    "dataset_tools.create_pascal_tf_record": 6,
    "dataset_tools.create_coco_tf_record": 6,
    "dataset_tools.synthetic_voc": 6,
}
# Within level 2: who may import whom besides itself.
LEVEL_2 = {
    "backbones": set(),
    "predictors": {"backbones"},
    "mtl": {"backbones", "predictors"},
    "data": set(),
    "dataset_tools": {"data", "mtl"},
    "visualization": {"data"},
    "checkpoints": {"backbones", "predictors", "mtl", "data"},
}
MAY_IMPORT_PROTOS = ("config", "protos", "builders", "jobs", "api", "odapi")
COMMAND_LINES = (
    "model_main_tf2",
    "exporter_main_v2",
    "cli.detect_objects",
    "cli.inspect_labels",
    "cli.inspect_checkpoint",
    "cli.check_config",
    "cli.convert_checkpoint",
    "cli.evaluate_detector",
    "cli.evaluate_detections",
    "cli.compare_detectors",
    "cli.refit_refiner",
    "try_tasks",
    "dataset_tools.create_pascal_tf_record",
    "dataset_tools.create_coco_tf_record",
    "dataset_tools.synthetic_voc",
)


def level_of(module):
    """Return the level of `a.b.c`, the path below the package."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in LEVELS:
            return LEVELS[prefix]
    raise AssertionError(f"{module} has no level: give it one here and in the design")


def modules():
    """Return every hand-written module of the package: `a.b.c` -> path."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1].endswith("_pb2"):
            continue
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = path
    return found


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def statements(tree):
    """Yield all nodes except those under `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not is_type_checking(node):
            waiting.extend(ast.iter_child_nodes(node))


def imports_of(path, known):
    """Return the modules of the package that a file imports, as paths below the package."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                below = full.removeprefix(NAME + ".")
                is_module = below in known or below.endswith("_pb2")
                found.add(full if is_module else node.module)
    return {name.removeprefix(NAME + ".") for name in found if name.startswith(NAME + ".")}


MODULES = modules()


def test_the_package_is_found():
    assert {"fields", "config.pipeline", "ops.boxes"} <= set(MODULES)


@pytest.fixture(scope="module")
def graph():
    """Module -> modules of the package that it imports."""
    return {module: imports_of(path, MODULES) for module, path in MODULES.items()}


def is_allowed(module, imported):
    """Return whether the levels allow an import."""
    level, package, other = level_of(module), module.split(".")[0], imported.split(".")[0]
    if level == level_of(imported) == 2 and other != package:
        return other in LEVEL_2[package]
    return level_of(imported) <= level


def test_every_module_has_a_level():
    for module in MODULES:
        level_of(module)


def test_imports_point_to_lower_levels(graph):
    forbidden = [
        f"{module} imports {imported}"
        for module, imports in graph.items()
        for imported in imports
        if not is_allowed(module, imported)
    ]
    assert not forbidden


def test_only_some_packages_read_the_schema(graph):
    readers = {
        module.split(".")[0]
        for module, imports in graph.items()
        if any(name.split(".")[0] == "protos" for name in imports)
    }
    assert readers <= set(MAY_IMPORT_PROTOS)


def test_modules_import_each_other_without_a_cycle(graph):
    done, active = set(), []

    def visit(module):
        assert module not in active, f"cycle: {' -> '.join([*active, module])}"
        if module in done or module not in graph:
            return
        active.append(module)
        for imported in sorted(graph[module]):
            visit(imported)
        active.pop()
        done.add(module)

    for module in graph:
        visit(module)


HEAVY = ("tensorflow", "keras", "tf_keras", "orbit", "official", "matplotlib")


LIGHT = (
    NAME,
    f"{NAME}.fields",
    f"{NAME}.config.pipeline",
    f"{NAME}.config.label_map",
    f"{NAME}.config.samples",
    f"{NAME}.api.config_loading",
    f"{NAME}.api.detections",
    f"{NAME}.api.detector",
    f"{NAME}.api.detector_building",
    f"{NAME}.api.model_loading",
    *(f"{NAME}.{name}" for name in COMMAND_LINES if name in MODULES),
)
IMPORT_ALL = """
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
    loaded = sorted(set(sys.modules) & set({heavy!r}))
    if loaded:
        sys.exit(f"{{module}} loads {{loaded}}")
"""


@pytest.mark.parametrize(
    ("modules", "heavy", "message"),
    [
        (LIGHT, HEAVY, ""),
        ((NAME, f"{NAME}.config.pipeline"), ("google.protobuf",), f"{NAME}.config.pipeline loads"),
    ],
    ids=["light modules", "the check finds what is loaded"],
)
def test_importing_loads_no_tensorflow(modules, heavy, message):
    code = IMPORT_ALL.format(modules=modules, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == bool(message), done.stderr
    assert message in done.stderr


def test_what_the_levels_forbid():
    assert is_allowed("builders.model_builder", "models.two_stage")
    assert not is_allowed("models.two_stage", "builders.model_builder")
    assert not is_allowed("data.input_pipeline", "mtl.window_task")
    assert is_allowed("dataset_tools.label_writing", "mtl.window_task")


def test_imports_of_a_module_are_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "from object_detection_mtl import jobs\n"
        "from object_detection_mtl.config.pipeline import load\n"
        "def late():\n"
        "    import object_detection_mtl.builders.model_builder\n"
        "from object_detection_mtl.protos import model_pb2\n"
    )
    known = {"jobs": path, "config.pipeline": path}
    assert imports_of(path, known) == {
        "jobs",
        "config.pipeline",
        "builders.model_builder",
        "protos.model_pb2",
    }
