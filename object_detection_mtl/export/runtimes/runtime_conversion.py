"""Conversion of a detector in memory to another runtime."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.export.formats import onnx_conversion, openvino_conversion
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.export.runtimes import runtime_choice, runtime_models
from object_detection_mtl.export.runtimes.runtime_choice import AUTO, ModelFunction
from object_detection_mtl.export.runtimes.runtime_models import (
    FLOAT32,
    ONNXRUNTIME,
    OPENVINO,
    TENSORFLOW,
)

OTHER_ENGINES = (OPENVINO, ONNXRUNTIME)
_FORMATS: dict[str, Any] = {OPENVINO: openvino_conversion, ONNXRUNTIME: onnx_conversion}

# Makes a module with the detector's present weights, not traced yet.
MakeModule = Callable[[], Any]


def require_conversion(engine: str, precision: str = FLOAT32) -> None:
    """Check early that a detector can be converted to an engine.

    Raises:
        ValueError: The engine is unknown, lacks the precision, or a package is not installed.
    """
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
    sample: Callable[[], Mapping[str, np.ndarray]],
) -> tuple[str, ModelFunction]:
    """Return the name of the engine, and a module's function in it.

    Args:
        engine: One of OTHER_ENGINES, TENSORFLOW or AUTO. AUTO prints one line: the chosen engine
            and the reasons.
        make_module: See `MakeModule`.
        precision: Precision of the convolutions.
        sample: Return inputs with an image of the dataset, by which AUTO chooses.

    Raises:
        ValueError: See `require_conversion`.
    """
    require_conversion(engine, precision)
    if engine == TENSORFLOW:
        return engine, _tensorflow_function(make_module())
    if engine != AUTO:
        return engine, convert_to_engine(engine, make_module, precision)
    makers = {
        other: functools.partial(_convert_if_installed, other, make_module)
        for other in OTHER_ENGINES
    }
    choice, function = runtime_choice.choose_engine(
        _tensorflow_function(make_module()), makers, sample()
    )
    print(choice, flush=True)
    return choice.engine, function


def convert_to_engine(
    engine: str, make_module: MakeModule, precision: str = FLOAT32
) -> ModelFunction:
    """Return a module's function in one of OTHER_ENGINES."""
    conversion = _FORMATS[engine]
    options = {} if precision == FLOAT32 else {"precision": precision}
    with tempfile.TemporaryDirectory() as directory:
        conversion.write_model(conversion.convert_module(make_module(), **options), directory, {})
        return runtime_models.load_model(os.path.join(directory, conversion.FILE_NAME)).run


def _convert_if_installed(engine: str, make_module: MakeModule) -> ModelFunction:
    require_conversion(engine)
    return convert_to_engine(engine, make_module)


def _tensorflow_function(module: Any) -> ModelFunction:
    detect = freezing.optimize_module(module).detect
    specs = detect.input_signature

    def run(inputs: Mapping[str, np.ndarray]) -> runtime_models.Arrays:
        outputs = detect(*(tf.constant(inputs[spec.name], spec.dtype) for spec in specs))
        return {name: value.numpy() for name, value in outputs.items()}

    return run
