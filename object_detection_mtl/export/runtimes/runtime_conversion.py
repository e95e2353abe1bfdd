"""A detector of this process in another runtime, without an export in between."""

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
from object_detection_mtl.export.runtimes.runtime_choice import AUTO, Run
from object_detection_mtl.export.runtimes.runtime_models import (
    FLOAT32,
    ONNXRUNTIME,
    OPENVINO,
    TENSORFLOW,
)

OTHERS = (OPENVINO, ONNXRUNTIME)
_FORMATS: dict[str, Any] = {OPENVINO: openvino_conversion, ONNXRUNTIME: onnx_conversion}

# Makes a module with the detector's present weights, of which nothing has been traced yet.
MakeModule = Callable[[], Any]


def require(engine: str, precision: str = FLOAT32) -> None:
    """Asks for all that an engine needs before anything takes time.

    Raises:
        ValueError: something is not installed, or the engine is unknown or has not the precision.
    """
    if engine == AUTO:
        if precision != FLOAT32:
            raise ValueError(
                f"engine {AUTO!r} compares in {FLOAT32}, not in {precision}; name the engine"
            )
        return
    if engine not in (TENSORFLOW, *OTHERS):
        raise ValueError(
            f"engine is {engine!r}, expected one of {', '.join((TENSORFLOW, *OTHERS, AUTO))}"
        )
    runtime_models.check_precision(engine, precision)
    runtime_models.require(engine)
    if engine != TENSORFLOW:
        _FORMATS[engine].require_converter()


def run_with(
    engine: str,
    make_module: MakeModule,
    *,
    precision: str = FLOAT32,
    sample: Callable[[], Mapping[str, np.ndarray]],
) -> tuple[str, Run]:
    """A module's function in an engine, from arrays to arrays; and the engine's name.

    Args:
        engine: one of OTHERS, TENSORFLOW or AUTO.
        make_module: see `MakeModule`.
        precision: of the convolutions.
        sample: inputs of a real picture, by which AUTO chooses; it says in one line which, and why.

    Raises:
        ValueError: as `require`.
    """
    require(engine, precision)
    if engine == TENSORFLOW:
        return engine, _in_tensorflow(make_module())
    if engine != AUTO:
        return engine, convert(engine, make_module, precision)
    makers = {other: functools.partial(_if_installed, other, make_module) for other in OTHERS}
    chosen, run = runtime_choice.choose(_in_tensorflow(make_module()), makers, sample())
    print(chosen, flush=True)
    return chosen.engine, run


def _if_installed(engine: str, make_module: MakeModule) -> Run:
    require(engine)
    return convert(engine, make_module)


def convert(engine: str, make_module: MakeModule, precision: str = FLOAT32) -> Run:
    """A module's function in another runtime."""
    made = _FORMATS[engine]
    with tempfile.TemporaryDirectory() as directory:
        narrowed = {} if precision == FLOAT32 else {"precision": precision}
        made.write(made.convert(make_module(), **narrowed), directory, {})
        return runtime_models.load(os.path.join(directory, made.FILE_NAME)).run


def _in_tensorflow(module: Any) -> Run:
    detect = freezing.optimized(module).detect
    specs = detect.input_signature

    def run(inputs: Mapping[str, np.ndarray]) -> runtime_models.Arrays:
        outputs = detect(*(tf.constant(inputs[spec.name], spec.dtype) for spec in specs))
        return {name: value.numpy() for name, value in outputs.items()}

    return run
