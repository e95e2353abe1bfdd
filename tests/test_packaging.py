"""Contents of a built package, and its protobuf versions."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import object_detection_mtl

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROTO_PACKAGE = Path(object_detection_mtl.__file__).parent / "protos"
SCHEMA = sorted(path.stem for path in (ROOT / "protos").glob("*.proto"))


def test_the_version_is_the_same_everywhere():
    version = object_detection_mtl.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert newest
    assert newest[1] == version
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation


def test_every_extra_is_in_the_table_of_the_documentation():
    page = (ROOT / "docs" / "getting_started" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z`, ]+`) \|", page, re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(listed) == sorted(PROJECT["project"]["optional-dependencies"])


def requirement(texts, name):
    """Return the one requirement on `name` that holds everywhere."""
    found = [item for item in map(Requirement, texts) if item.name == name and not item.marker]
    assert len(found) == 1
    return found[0]


def bounds(specifier):
    """Return (lower, upper) of a requirement `>=lower,<upper`."""
    by_operator = {item.operator: Version(item.version) for item in specifier}
    assert set(by_operator) == {">=", "<"}
    return by_operator[">="], by_operator["<"]


def test_protobuf_is_built_and_run_with_the_versions_that_fit():
    """protoc of grpcio-tools 1.76 to 1.80 writes code for protobuf 6.31.1; 1.81's fails on 6."""
    build = requirement(PROJECT["build-system"]["requires"], "grpcio-tools")
    assert bounds(build.specifier) == (Version("1.76"), Version("1.81"))
    run = requirement(PROJECT["project"]["dependencies"], "protobuf")
    assert bounds(run.specifier) == (Version("6.31.1"), Version("8"))
    dev = requirement(PROJECT["project"]["optional-dependencies"]["dev"], "grpcio-tools")
    assert dev.specifier == build.specifier


def test_the_generated_code_fits_the_whole_range():
    """Generated code runs on protobuf from its own version to the end of the next major one."""
    lowest, upper = bounds(requirement(PROJECT["project"]["dependencies"], "protobuf").specifier)
    modules = list(PROTO_PACKAGE.glob("*_pb2.py"))
    assert sorted(path.stem.removesuffix("_pb2") for path in modules) == SCHEMA
    for path in modules:
        match = re.search(r"^# Protobuf Python Version: (\S+)$", path.read_text(), re.MULTILINE)
        assert match, path.name
        generated = Version(match[1])
        assert generated <= lowest, path.name
        assert upper.major <= generated.major + 2, path.name


def test_generated_modules_import_each_other_inside_the_package():
    for path in PROTO_PACKAGE.glob("*_pb2.py"):
        for line in path.read_text().splitlines():
            if re.match(r"(from|import) .*_pb2", line) and "google.protobuf" not in line:
                assert line.startswith("from object_detection_mtl.protos import "), line


def test_a_command_line_exists_for_every_script():
    for name, target in PROJECT["project"]["scripts"].items():
        module, function = target.split(":")
        assert function == "run", name
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        assert path.is_file(), f"{name}: {module} is missing"
        functions = [
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        ]
        assert "run" in functions, f"{module} has no run()"


def test_every_dependency_that_breaks_has_an_upper_bound():
    for text in PROJECT["project"]["dependencies"]:
        item = Requirement(text)
        if item.marker:
            continue  # restricts a requirement that holds everywhere
        operators = {specifier.operator for specifier in item.specifier}
        assert ">=" in operators, text
        assert "<" in operators or item.name == "pillow", text


BUILD = "import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"
SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")


@pytest.fixture
def source_tree(tmp_path):
    """A copy of the files under version control, without generated ones."""
    pytest.importorskip("grpc_tools", reason="building needs grpcio-tools: install .[dev]")
    tree = tmp_path / "source"
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, tree)
    generated = shutil.ignore_patterns("__pycache__", "*_pb2.py", "*_pb2.pyi")
    for name in ("object_detection_mtl", "protos", "samples"):
        shutil.copytree(ROOT / name, tree / name, ignore=generated)
    return tree


def build(hook, tree, target):
    """Run a build hook in its own process; return the file that it made."""
    target.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(hook=hook), str(target)],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


def check_wheel(path, tree):
    """Check that a wheel holds all of `tree`; return its file names without the metadata."""
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
        entry_points = next(
            wheel.read(name).decode()
            for name in wheel.namelist()
            if name.endswith("entry_points.txt")
        )
    package = "object_detection_mtl"
    for stem in SCHEMA:
        assert f"{package}/protos/{stem}_pb2.py" in names
        assert f"{package}/protos/{stem}_pb2.pyi" in names
    samples = [path for path in (tree / "samples" / "configs").iterdir() if path.is_file()]
    assert samples
    for path in samples:
        assert f"{package}/samples/configs/{path.name}" in names
    for path in (tree / package / "label_maps").glob("*.pbtxt"):
        assert f"{package}/label_maps/{path.name}" in names
    for path in (tree / package).rglob("*.py"):
        assert path.relative_to(tree).as_posix() in names
    assert f"{package}/py.typed" in names
    assert licences
    assert "model_main_tf2 = object_detection_mtl.model_main_tf2:run" in entry_points
    assert {name.split("/")[0] for name in names} == {package}
    return names


def test_a_checkout_without_compiled_schema_is_an_error_with_advice(tmp_path, monkeypatch):
    (tmp_path / "bare_protos").mkdir()
    shutil.copy(PROTO_PACKAGE / "__init__.py", tmp_path / "bare_protos")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="no compiled configuration schema; .* build_protos"):
        importlib.import_module("bare_protos")


@pytest.mark.slow
def test_a_wheel_is_complete_and_its_schema_is_in_the_source_too(source_tree, tmp_path):
    """Python imports the package from the checkout where that is the current directory."""
    package = source_tree / "object_detection_mtl" / "protos"
    (package / "old_pb2.py").write_text("")
    check_wheel(build("build_wheel", source_tree, tmp_path / "wheel"), source_tree)
    stems = sorted(path.stem.removesuffix("_pb2") for path in package.glob("*_pb2.py"))
    assert stems == SCHEMA


@pytest.mark.slow
def test_a_source_archive_gives_the_same_wheel(source_tree, tmp_path):
    direct = check_wheel(build("build_wheel", source_tree, tmp_path / "direct"), source_tree)
    archive = build("build_sdist", source_tree, tmp_path / "archive")
    with tarfile.open(archive) as opened:
        assert not [name for name in opened.getnames() if "_pb2" in name]
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert check_wheel(build("build_wheel", unpacked, tmp_path / "again"), unpacked) == direct


@pytest.mark.slow
def test_an_editable_install_compiles_into_the_source(source_tree, tmp_path):
    build("build_editable", source_tree, tmp_path / "wheel")
    package = source_tree / "object_detection_mtl" / "protos"
    for pattern in ("*_pb2.py", "*_pb2.pyi"):
        stems = sorted(path.stem.removesuffix("_pb2") for path in package.glob(pattern))
        assert stems == SCHEMA


@pytest.mark.slow
def test_a_schema_error_stops_the_build_with_its_place(source_tree, tmp_path):
    (source_tree / "protos" / "train.proto").write_text('syntax = "proto2";\nmessage {}\n')
    with pytest.raises(AssertionError, match=r"train.proto:2:9"):
        build("build_wheel", source_tree, tmp_path / "wheel")
