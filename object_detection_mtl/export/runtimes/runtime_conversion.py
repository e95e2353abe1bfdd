"""Conversion of a detector in memory to another runtime."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import cpu_features
from object_detection_mtl.export import exported_module
from object_detection_mtl.export.formats import onnx_conversion, openvino_conversion
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.export.runtimes import runtime_choice, runtime_models
from object_detection_mtl.export.runtimes.runtime_choice import AUTO, AutoOptions, ModelFunction
from object_detection_mtl.export.runtimes.runtime_models import (
    BFLOAT16,
    FLOAT32,
    ONNXRUNTIME,
    OPENVINO,
    TENSORFLOW,
    ModelInput,
    RuntimeModel,
)
from object_detection_mtl.export.serving_inputs import INPUT_NAME

# Images of the input on which AUTO measures differences.
_COMPARED_IMAGES = 8
OTHER_ENGINES = (OPENVINO, ONNXRUNTIME)
_FORMATS: dict[str, Any] = {OPENVINO: openvino_conversion, ONNXRUNTIME: onnx_conversion}

# Makes a module with the detector's present weights, not traced yet.
MakeModule = Callable[[], Any]


def require_conversion(engine: str, precision: str = FLOAT32, num_streams: int = 1) -> None:
    """Check early that a detector can be converted to an engine.

    Raises:
        ValueError: The engine is unknown, lacks the precision or streams, or a package is not
            installed.
    """
    runtime_models.check_num_streams(engine, num_streams)
    if engine == AUTO:
        if precision != FLOAT32:
            raise ValueError(
                f"engine {AUTO!r} compares in {FLOAT32}, not in {precision}; name the engine"
            )
        return
    if engine not in (TENSORFLOW, *OTHER_ENGINES):
        raise ValueError(
            f"engine is {engine!r}, expected one of {', '.join((TENSORFLOW, *OTHER_ENGINES, AUTO))}"
        )
    runtime_models.check_precision(engine, precision)
    runtime_models.require_engine(engine)
    if engine != TENSORFLOW:
        _FORMATS[engine].require_converter()


def function_in_engine(
    engine: str,
    make_module: MakeModule,
    *,
    precision: str = FLOAT32,
    samples: Callable[[], Iterable[Mapping[str, np.ndarray]]],
    auto: AutoOptions | None = None,
    num_streams: int = 1,
) -> tuple[str, ModelFunction]:
    """Return the name of the engine, and a module's function in it.

    Args:
        engine: One of OTHER_ENGINES, TENSORFLOW or AUTO. AUTO prints one line: the chosen engine
            and the reasons.
        make_module: See `MakeModule`.
        precision: Precision of the convolutions.
        samples: Return inputs with images of the dataset, by which AUTO chooses.
        auto: Options of AUTO; None for the default.
        num_streams: See `runtime_models.check_num_streams`.

    Raises:
        ValueError: See `require_conversion`.
    """
    require_conversion(engine, precision, num_streams)
    if engine == TENSORFLOW:
        return engine, _tensorflow_function(make_module())
    if engine != AUTO:
        return engine, convert_to_engine(engine, make_module, precision, num_streams)
    auto = auto or AutoOptions()
    makers: dict[str, Callable[[], ModelFunction]] = {
        other: functools.partial(_convert_if_installed, other, make_module)
        for other in OTHER_ENGINES
    }
    if auto.max_difference and cpu_features.has_bfloat16_products():
        name = f"{OPENVINO} {BFLOAT16}"
        makers[name] = functools.partial(_convert_if_installed, OPENVINO, make_module, BFLOAT16)
    for path in auto.candidates:
        makers[path] = functools.partial(_load_candidate, path)
    number = _COMPARED_IMAGES if auto.max_difference else 1
    choice, function = runtime_choice.choose_engine(
        _tensorflow_function(make_module()),
        makers,
        list(itertools.islice(samples(), number)),
        auto.max_difference,
    )
    print(choice, flush=True)
    return choice.engine, function


def load_detector_file(path: str, num_streams: int = 1) -> tuple[RuntimeModel, ModelInput]:
    """Return the model of a model.xml or model.onnx of the exporter, and its input.

    Args:
        path: Path of the file.
        num_streams: See `runtime_models.check_num_streams`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The model is corrupt or not a detector, or its runtime is not installed or lacks
            streams.
    """
    model = runtime_models.load_model(path, num_streams)
    exported_module.require_detector(f"model {path!r}", model.inputs, model.outputs)
    return model, model.inputs[INPUT_NAME]


def convert_to_engine(
    engine: str, make_module: MakeModule, precision: str = FLOAT32, num_streams: int = 1
) -> ModelFunction:
    """Return a module's function in one of OTHER_ENGINES."""
    conversion = _FORMATS[engine]
    options = {} if precision == FLOAT32 else {"precision": precision}
    with tempfile.TemporaryDirectory() as directory:
        conversion.write_model(conversion.convert_module(make_module(), **options), directory, {})
        path = os.path.join(directory, conversion.FILE_NAME)
        return runtime_models.load_model(path, num_streams).run


def _convert_if_installed(
    engine: str, make_module: MakeModule, precision: str = FLOAT32
) -> ModelFunction:
    require_conversion(engine, precision)
    return convert_to_engine(engine, make_module, precision)


def _load_candidate(path: str) -> ModelFunction:
    """Return the function of an export, which may take one image at a time."""
    model, spec = load_detector_file(path)

    def run(inputs: Mapping[str, np.ndarray]) -> runtime_models.Arrays:
        images = inputs[INPUT_NAME].astype(spec.dtype)
        if spec.batch is None:
            return model.run({INPUT_NAME: images})
        parts = [model.run({INPUT_NAME: image[np.newaxis]}) for image in images]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    return run


def _tensorflow_function(module: Any) -> ModelFunction:
    detect = freezing.optimize_module(module).detect
    specs = detect.input_signature

    def run(inputs: Mapping[str, np.ndarray]) -> runtime_models.Arrays:
        outputs = detect(*(tf.constant(inputs[spec.name], spec.dtype) for spec in specs))
        return {name: value.numpy() for name, value in outputs.items()}

    return run
