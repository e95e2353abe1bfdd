"""Models of other runtimes as functions from arrays to arrays.

Neither TensorFlow nor the detector's code is needed for that: who has an exported model needs its
runtime alone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages

TENSORFLOW, OPENVINO, ONNXRUNTIME = "tensorflow", "openvino", "onnxruntime"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Engine -> the package, the extra that has it, and the ending of its model's files.
_PACKAGES = {OPENVINO: ("openvino", "openvino"), ONNXRUNTIME: ("onnxruntime", "onnx")}
_ENDINGS = {".xml": OPENVINO, ".onnx": ONNXRUNTIME}
_METADATA = "metadata"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        dtype: numpy's name of the type.
        batch: number of pictures that it takes; None for any.
    """

    dtype: str
    batch: int | None


@dataclass(frozen=True)
class Runtime:
    """A model that is loaded.

    Attributes:
        inputs: by name.
        metadata: of `export_metadata.describe`; empty in a model that was not exported.
        run: arrays by name -> all outputs by name.
    """

    inputs: dict[str, Input]
    metadata: dict[str, Any]
    run: Callable[[Mapping[str, np.ndarray]], Arrays]


def engine_of(path: str) -> str:
    """The engine that reads a model's file.

    Raises:
        ValueError: none does.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in _ENDINGS:
        raise ValueError(
            f"model {path!r} is of no known format; expected a file that ends in "
            f"{' or '.join(_ENDINGS)}, or a SavedModel's directory"
        )
    return _ENDINGS[ending]


def require(engine: str) -> None:
    """Asks for an engine's package before anything takes time.

    Raises:
        ValueError: it is not installed.
    """
    if engine == TENSORFLOW:
        return
    package, extra = _PACKAGES[engine]
    optional_packages.import_package(
        package, extra, f"engine {engine!r} needs the package {package}"
    )


def load(path: str) -> Runtime:
    """Loads a model's file.

    Args:
        path: of the .xml or the .onnx.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or its runtime is not installed.
    """
    engine = engine_of(path)
    _require_file(path)
    require(engine)
    with _explaining(engine, path):
        return _openvino(path) if engine == OPENVINO else _onnxruntime(path)


def metadata(path: str) -> dict[str, Any]:
    """What `export_metadata.describe` said of a model; empty if it was not exported.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    if engine_of(path) == ONNXRUNTIME:
        return load(path).metadata
    _require_file(path)
    require(OPENVINO)
    import openvino

    with _explaining(OPENVINO, path):
        return _described(openvino.Core().read_model(path))


def _require_file(path: str) -> None:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no model {path!r}: there is no such file")


@contextlib.contextmanager
def _explaining(engine: str, path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the runtimes have no type of error in common
        raise ValueError(
            f"{engine} cannot read {path!r}; it is damaged or incomplete, export it again "
            f"({str(error).strip().splitlines()[-1]})"
        ) from error


def check_precision(engine: str, precision: str) -> None:
    """Refuses a precision that the engine has not.

    Raises:
        ValueError: of such.
    """
    if precision not in (FLOAT32, BFLOAT16):
        raise ValueError(f"precision is {precision!r}, expected {FLOAT32} or {BFLOAT16}")
    if precision == BFLOAT16 and engine != OPENVINO:
        raise ValueError(
            f"precision {precision!r} is for engine {OPENVINO!r}, not for {engine!r}; a SavedModel "
            "is exported in it instead (exporter_main_v2 --precision)"
        )


def _openvino(path: str) -> Runtime:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    # Compiling may add the names of what it leaves out, or put them in their place.
    output_names = [output.get_any_name() for output in model.outputs]
    # Without a hint the processor decides, and one with AMX decides for bfloat16, boxes included.
    # What is to be bfloat16 is so in the model itself.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    names = dict(zip(compiled.outputs, output_names, strict=True))

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        results = request.infer(dict(inputs))
        return {name: np.array(results[output]) for output, name in names.items()}

    given = {
        entry.get_any_name(): Input(
            np.dtype(entry.element_type.to_dtype()).name, _batch(entry.partial_shape[0])
        )
        for entry in compiled.inputs
    }
    return Runtime(given, _described(model), run)


def _described(model: Any) -> dict[str, Any]:
    if not model.has_rt_info(_METADATA):
        return {}
    value = model.get_rt_info(_METADATA)
    return json.loads(value if isinstance(value, str) else value.astype(str))


def _batch(dimension: Any) -> int | None:
    return int(dimension.get_length()) if dimension.is_static else None


def _onnxruntime(path: str) -> Runtime:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return dict(zip(names, session.run(None, dict(inputs)), strict=True))

    given = {
        entry.name: Input(
            {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32"}[
                entry.type
            ],
            entry.shape[0] if isinstance(entry.shape[0], int) else None,
        )
        for entry in session.get_inputs()
    }
    described = session.get_modelmeta().custom_metadata_map.get(_METADATA, "{}")
    return Runtime(given, json.loads(described), run)
