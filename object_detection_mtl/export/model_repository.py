"""Model repositories of TensorFlow Serving, OpenVINO Model Server and NVIDIA Triton.

REPOSITORY/NAME/1/          the files of a SavedModel, or model.onnx, or model.xml and model.bin
REPOSITORY/NAME/2/          the next version, which a server loads when it appears
REPOSITORY/NAME/config.pbtxt    of an ONNX or OpenVINO model: its inputs and outputs, for Triton
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

CONFIG = "config.pbtxt"
# File that identifies a format -> the format.
_FORMATS = {"saved_model.pb": "saved_model", "model.onnx": "onnx", "model.xml": "openvino"}
_BACKENDS = {"onnx": "onnxruntime", "openvino": "openvino"}
_TRITON_TYPES = {"uint8": "TYPE_UINT8", "float": "TYPE_FP32", "float32": "TYPE_FP32"}
# Image that Triton sends to a model before users do.
_WARMUP_SHAPE = (1, 600, 800, 3)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class TensorSpec(NamedTuple):
    """Input or output of a model: name, type of Triton, sizes with -1 for any."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def check_place(repository: str, name: str, format: str) -> None:
    """Check before an export that its model can be added to a repository.

    Args:
        repository: see `add_version`.
        name: see `add_version`.
        format: "saved_model", "onnx" or "openvino".

    Raises:
        ValueError: the name is no directory name, the repository is a file or not local, or the
            other versions of the model have another format.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"model name {name!r} is unusable as a directory and in a server's address; expected "
            "letters, digits, '_', '-' and '.'"
        )
    if "://" in repository:
        raise ValueError(
            f"model repository {repository!r} is not on this machine; write a local one and copy it"
        )
    directory = Path(repository).expanduser() / name
    for place in (directory.parent, directory):
        if place.exists() and not place.is_dir():
            raise ValueError(f"model repository: {str(place)!r} is a file; expected a directory")
    formats = {_format_of(directory / str(version)) for version in _versions(directory)}
    if other := sorted(formats - {format, ""}):
        raise ValueError(
            f"{str(directory)!r} has versions in format {other[0]!r}, and the new one has "
            f"{format!r}; give another model name"
        )


def add_version(model: str, repository: str, name: str) -> str:
    """Copy an exported model into a repository, as the version after the newest one.

    The version appears complete: a server that watches the directory never sees a part of it.

    Args:
        model: directory of a SavedModel, or the file model.onnx or model.xml.
        repository: directory of the repository; created if it does not exist.
        name: name by which clients ask for the model.

    Returns:
        The directory of the version.

    Raises:
        ValueError: see `check_place`.
    """
    source = Path(model)
    format = _FORMATS["saved_model.pb" if source.is_dir() else source.name]
    check_place(repository, name, format)
    directory = Path(repository).expanduser() / name
    directory.mkdir(parents=True, exist_ok=True)
    # Servers ignore directories whose names are no numbers.
    scratch = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=directory))
    try:
        os.chmod(scratch, 0o755)  # Servers run as other users; mkdtemp's directories are private.
        _copy_model(source, scratch)
        if format in _BACKENDS and not (directory / CONFIG).exists():
            _write_config(directory / CONFIG, triton_config(str(source), name))
        version = max(_versions(directory), default=0) + 1
        while True:
            target = directory / str(version)
            try:
                os.rename(scratch, target)
                return str(target)
            except OSError:
                if not target.exists():
                    raise
                version += 1  # Another export was faster.
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def triton_config(model: str, name: str) -> str:
    """Return Triton's configuration of a model file, with a black image that warms it up.

    Args:
        model: the file model.onnx or model.xml.
        name: name of the model.
    """
    inputs, outputs = _onnx_tensors(model) if model.endswith(".onnx") else _openvino_tensors(model)
    warmup = ", ".join(map(str, _WARMUP_SHAPE))
    lines = [
        f'name: "{name}"',
        f'backend: "{_BACKENDS[_FORMATS[os.path.basename(model)]]}"',
        "max_batch_size: 0",
        *(f"input {{ {_describe(tensor)} }}" for tensor in inputs),
        *(f"output {{ {_describe(tensor)} }}" for tensor in outputs),
        "model_warmup {",
        '  name: "black image"',
        "  inputs {",
        f'    key: "{inputs[0].name}"',
        f"    value {{ data_type: {inputs[0].dtype} dims: [{warmup}] zero_data: true }}",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _describe(tensor: TensorSpec) -> str:
    sizes = ", ".join(map(str, tensor.shape))
    return f'name: "{tensor.name}" data_type: {tensor.dtype} dims: [{sizes}]'


def _onnx_tensors(model: str) -> tuple[list[TensorSpec], list[TensorSpec]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def specs(tensors: Iterable) -> list[TensorSpec]:
        return [
            TensorSpec(
                tensor.name,
                _TRITON_TYPES[tensor.type.removeprefix("tensor(").removesuffix(")")],
                tuple(size if isinstance(size, int) else -1 for size in tensor.shape),
            )
            for tensor in tensors
        ]

    return specs(session.get_inputs()), specs(session.get_outputs())


def _openvino_tensors(model: str) -> tuple[list[TensorSpec], list[TensorSpec]]:
    import openvino

    read = openvino.Core().read_model(model)

    def specs(tensors: Iterable) -> list[TensorSpec]:
        return [
            TensorSpec(
                tensor.get_any_name(),
                _TRITON_TYPES[np.dtype(tensor.element_type.to_dtype()).name],
                tuple(size.get_length() if size.is_static else -1 for size in tensor.partial_shape),
            )
            for tensor in tensors
        ]

    return specs(read.inputs), specs(read.outputs)


def _format_of(directory: Path) -> str:
    """Return the format of a version; empty for one that is not of this package."""
    found = [name for file, name in _FORMATS.items() if (directory / file).is_file()]
    return found[0] if found else ""


def _versions(directory: Path) -> list[int]:
    if not directory.is_dir():
        return []
    return sorted(int(place.name) for place in directory.iterdir() if place.name.isdecimal())


def _copy_model(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    shutil.copy(source, target)
    if source.suffix == ".xml":
        shutil.copy(source.with_suffix(".bin"), target)


def _write_config(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text)
    os.replace(scratch, path)
