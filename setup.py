"""Compiles `protos/*.proto` and gathers the sample configurations when the package is built.

Everything declarative is in pyproject.toml. What a build does besides it:

* `protos/x.proto` becomes `object_detection_mtl/protos/x_pb2.py` and `x_pb2.pyi`. The files live
  at the top of the project but are compiled under the virtual path `object_detection_mtl/protos`,
  so the generated modules import each other by the names they are installed under.
* `samples/configs` (configurations and their label maps) is copied into the package, where
  `config.samples` finds it.

A wheel gets both in its build directory. The generated modules are also written to the source tree,
because Python imports the package from there where a checkout is the current directory. An editable
install and `python setup.py build_protos` write only those.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROTO_DIR = ROOT / "protos"
PROTO_PACKAGE = "object_detection_mtl/protos"
SAMPLES = Path("samples/configs")


def compile_protos(target: Path) -> list[Path]:
    """Compile every schema file; remove generated modules without a schema file.

    Args:
        target: the directory that contains the package.

    Returns:
        The files written.

    Raises:
        RuntimeError: there is no schema file, or the compiler refuses one (it prints why).
    """
    import grpc_tools
    from grpc_tools import protoc

    names = sorted(path.name for path in PROTO_DIR.glob("*.proto"))
    if not names:
        raise RuntimeError(f"no .proto file in {PROTO_DIR}: the source tree is incomplete")
    package_dir = target / PROTO_PACKAGE
    package_dir.mkdir(parents=True, exist_ok=True)
    for stale in [*package_dir.glob("*_pb2.py"), *package_dir.glob("*_pb2.pyi")]:
        stale.unlink()
    arguments = [
        "protoc",
        f"--proto_path={PROTO_PACKAGE}={PROTO_DIR}",
        f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        *(f"{PROTO_PACKAGE}/{name}" for name in names),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc failed on the files of {PROTO_DIR}; its message is above")
    return sorted([*package_dir.glob("*_pb2.py"), *package_dir.glob("*_pb2.pyi")])


def copy_protos(source: Path, target: Path) -> None:
    """Copy generated modules; a directory that cannot be written stays as it is.

    Args:
        source: the directory that contains the package with the modules.
        target: the directory that contains the other copy of the package.
    """
    package_dir = target / PROTO_PACKAGE
    made = {path.name: path for path in (source / PROTO_PACKAGE).glob("*_pb2.py*")}
    try:
        for path in package_dir.glob("*_pb2.py*"):
            if path.name not in made:
                path.unlink()
        for name, path in made.items():
            shutil.copyfile(path, package_dir / name)
    except OSError as error:
        print(f"{package_dir} is left without generated modules: {error}")


class BuildProtos(Command):
    """Compiles the schema into the source tree, for work on a checkout."""

    description = "compile protos/*.proto into object_detection_mtl/protos"
    user_options: list[tuple[str, str | None, str]] = []

    def initialize_options(self) -> None:
        pass

    def finalize_options(self) -> None:
        pass

    def run(self) -> None:
        print(f"wrote {len(compile_protos(ROOT))} files to {ROOT / PROTO_PACKAGE}")


class BuildPy(build_py):
    """Copies the Python files, then adds the generated modules and the sample configurations."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            compile_protos(ROOT)
            return
        build_lib = Path(self.build_lib)
        self._extra_outputs = compile_protos(build_lib)
        copy_protos(build_lib, ROOT)
        samples = build_lib / "object_detection_mtl" / SAMPLES
        samples.mkdir(parents=True, exist_ok=True)
        for pattern in ("*.config", "*.pbtxt"):
            for sample in sorted((ROOT / SAMPLES).glob(pattern)):
                self._extra_outputs.append(Path(shutil.copy2(sample, samples)))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        extra = getattr(self, "_extra_outputs", [])
        return sorted({*super().get_outputs(include_bytecode), *map(str, extra)})


setup(cmdclass={"build_py": BuildPy, "build_protos": BuildProtos})
