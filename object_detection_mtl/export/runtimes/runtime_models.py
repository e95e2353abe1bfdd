"""Models of OpenVINO and ONNX Runtime as functions from arrays to arrays.

Loading a model needs its runtime only, neither TensorFlow nor the detector's code.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages

TENSORFLOW, OPENVINO, ONNXRUNTIME = "tensorflow", "openvino", "onnxruntime"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Engine -> its package and the extra that installs it.
_PACKAGES = {OPENVINO: ("openvino", "openvino"), ONNXRUNTIME: ("onnxruntime", "onnx")}
_EXTENSIONS = {".xml": OPENVINO, ".onnx": ONNXRUNTIME}
_METADATA = "metadata"

Arrays = dict[str, np.ndarray]


class ModelCallError(ValueError):
    """A runtime rejects the inputs of a call, such as an image of a size that the model lacks."""


@dataclass(frozen=True)
class ModelInput:
    """An input of a model.

    Attributes:
        dtype: NumPy's name of the type.
        batch: Batch size; None for any.
    """

    dtype: str
    batch: int | None


@dataclass(frozen=True)
class RuntimeModel:
    """A loaded model.

    Attributes:
        inputs: Inputs by name.
        outputs: Names of the outputs.
        metadata: From `export_metadata.describe_export`; empty if the model was not exported.
        run: Compute all outputs by name from arrays by name. As many threads as the model has
            streams compute at the same time; others wait. Raises ModelCallError.
    """

    inputs: dict[str, ModelInput]
    outputs: tuple[str, ...]
    metadata: dict[str, Any]
    run: Callable[[Mapping[str, np.ndarray]], Arrays]


def engine_of_file(path: str) -> str:
    """Return the engine that reads a model file.

    Raises:
        ValueError: The extension is unknown.
    """
    extension = os.path.splitext(path)[1].lower()
    if extension not in _EXTENSIONS:
        raise ValueError(
            f"model {path!r} has an unknown format; expected a file with extension "
            f"{' or '.join(_EXTENSIONS)}"
        )
    return _EXTENSIONS[extension]


def require_engine(engine: str) -> None:
    """Check early that an engine is installed.

    Raises:
        ValueError: Its package is not installed.
    """
    if engine == TENSORFLOW:
        return
    package, extra = _PACKAGES[engine]
    optional_packages.import_package(
        package, extra, f"engine {engine!r} needs the package {package}"
    )


def load_model(path: str, num_streams: int = 1) -> RuntimeModel:
    """Load a model file.

    Args:
        path: Path of the .xml or .onnx file.
        num_streams: See `check_num_streams`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is corrupt, or its runtime is not installed or lacks streams.
    """
    engine = engine_of_file(path)
    _require_file(path)
    check_num_streams(engine, num_streams)
    require_engine(engine)
    with _explain_errors(engine, path):
        if engine == OPENVINO:
            return _load_openvino(path, num_streams)
        return _load_onnxruntime(path)


def read_metadata(path: str) -> dict[str, Any]:
    """Return the metadata from `export_metadata.describe_export`; empty if there are none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is corrupt, or its runtime is not installed.
    """
    if engine_of_file(path) == ONNXRUNTIME:
        return load_model(path).metadata
    _require_file(path)
    require_engine(OPENVINO)
    import openvino

    with _explain_errors(OPENVINO, path):
        return _openvino_metadata(openvino.Core().read_model(path))


def check_precision(engine: str, precision: str) -> None:
    """Check that an engine supports a precision.

    Raises:
        ValueError: The precision is unknown or unsupported.
    """
    if precision not in (FLOAT32, BFLOAT16):
        raise ValueError(f"precision is {precision!r}, expected {FLOAT32} or {BFLOAT16}")
    if precision == BFLOAT16 and engine != OPENVINO:
        raise ValueError(
            f"precision {precision!r} is for engine {OPENVINO!r}, not for {engine!r}; a SavedModel "
            "is exported in it instead (exporter_main_v2 --precision)"
        )


def check_num_streams(engine: str, num_streams: int) -> None:
    """Check that an engine supports a number of streams.

    Args:
        engine: Name of the engine.
        num_streams: Number of calls that are computed at the same time, each by a part of the CPU's
            cores; 1 computes each call by all cores.

    Raises:
        ValueError: The number is not positive, or above 1 and unsupported.
    """
    if num_streams < 1:
        raise ValueError(f"num_streams is {num_streams}, expected at least 1")
    if num_streams > 1 and engine != OPENVINO:
        raise ValueError(
            f"num_streams is {num_streams}, which is for engine {OPENVINO!r}, not for {engine!r}; "
            "omit it, or give a model.xml or engine 'openvino'"
        )


def _require_file(path: str) -> None:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no model {path!r}: the file does not exist")


@contextlib.contextmanager
def _explain_errors(engine: str, path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # The runtimes have no common error type.
        raise ValueError(
            f"{engine} cannot read {path!r}; it is corrupt or incomplete, export it again "
            f"({str(error).strip().splitlines()[-1]})"
        ) from error


@contextlib.contextmanager
def _explain_rejection(engine: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # The runtimes have no common error type.
        reason = textwrap.shorten(str(error), 300)  # of several lines, the first a C++ file
        raise ModelCallError(f"{engine} cannot compute it: {reason}") from error


def _load_openvino(path: str, num_streams: int) -> RuntimeModel:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    # Compiling may add or replace tensor names.
    output_names = [output.get_any_name() for output in model.outputs]
    # Without a hint OpenVINO decides by the CPU, and uses bfloat16 on one with AMX, for boxes, too.
    # A model exported in bfloat16 has its own casts.
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if num_streams > 1:
        options |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": num_streams}
    compiled = core.compile_model(model, "CPU", options)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(num_streams):
        requests.put(compiled.create_infer_request())
    names = dict(zip(compiled.outputs, output_names, strict=True))

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        request = requests.get()
        try:
            with _explain_rejection(OPENVINO):
                results = request.infer(dict(inputs))
            return {name: np.array(results[output]) for output, name in names.items()}
        finally:
            requests.put(request)

    inputs = {
        entry.get_any_name(): ModelInput(
            np.dtype(entry.element_type.to_dtype()).name, _static_size(entry.partial_shape[0])
        )
        for entry in compiled.inputs
    }
    return RuntimeModel(inputs, tuple(output_names), _openvino_metadata(model), run)


def _openvino_metadata(model: Any) -> dict[str, Any]:
    if not model.has_rt_info(_METADATA):
        return {}
    value = model.get_rt_info(_METADATA)
    return json.loads(value if isinstance(value, str) else value.astype(str))


def _static_size(dimension: Any) -> int | None:
    return int(dimension.get_length()) if dimension.is_static else None


def _load_onnxruntime(path: str) -> RuntimeModel:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        with _explain_rejection(ONNXRUNTIME):
            results = session.run(None, dict(inputs))
        return dict(zip(names, results, strict=True))

    dtypes = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(int32)": "int32"}
    inputs = {
        entry.name: ModelInput(
            dtypes[entry.type], entry.shape[0] if isinstance(entry.shape[0], int) else None
        )
        for entry in session.get_inputs()
    }
    metadata = session.get_modelmeta().custom_metadata_map.get(_METADATA, "{}")
    return RuntimeModel(inputs, tuple(names), json.loads(metadata), run)
