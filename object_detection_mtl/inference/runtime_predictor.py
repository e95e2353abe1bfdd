"""Predictors of other runtimes: exported models, or detectors converted on the fly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.runtimes import runtime_conversion
from object_detection_mtl.export.runtimes.runtime_choice import AutoOptions, ModelFunction
from object_detection_mtl.export.runtimes.runtime_models import TENSORFLOW
from object_detection_mtl.export.serving_inputs import INPUT_NAME
from object_detection_mtl.inference import predictor
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.predictor import (
    PreparedImage,
    StagedPredictor,
)


def from_exported_model(path: str, num_streams: int = 1) -> StagedPredictor:
    """Return the predictor of a model.xml or model.onnx of the exporter.

    Args:
        path: Path of the file.
        num_streams: See `runtime_models.check_num_streams`.

    Raises:
        FileNotFoundError, ValueError: See `runtime_conversion.load_detector_file`.
    """
    model, spec = runtime_conversion.load_detector_file(path, num_streams)
    batching_error = (
        f"model {path!r} takes {spec.batch} image at a time; export it with --dynamic_batch"
        if spec.batch is not None
        else ""
    )
    return _staged_predictor(model.run, spec.dtype, batching_error, num_streams)


def from_function(run: ModelFunction) -> StagedPredictor:
    """Return the predictor of a model as a function of arrays, which takes uint8 images."""
    return _staged_predictor(run)


def from_detector_in_engine(
    detector: Any,
    engine: str,
    precision: str,
    auto: AutoOptions | None,
    num_streams: int,
    images: Callable[[], Iterable[np.ndarray]],
) -> StagedPredictor:
    """Return the predictor of a detector with loaded weights in an engine.

    Args:
        detector: With loaded weights.
        engine: See `runtime_conversion.function_in_engine`.
        precision: See `runtime_conversion.function_in_engine`.
        auto: See `runtime_conversion.function_in_engine`.
        num_streams: See `runtime_models.check_num_streams`.
        images: Return images [H, W, 3] uint8 of the input, by which engine 'auto' chooses.

    Raises:
        ValueError: The engine is unknown, not installed, or lacks the precision.
    """
    if engine == TENSORFLOW:
        runtime_conversion.require_conversion(engine, precision, num_streams)
        return predictor.from_detector(detector)
    _, run = runtime_conversion.function_in_engine(
        engine,
        lambda: DetectionModule(detector, ExportOptions(dynamic_batch=True)),
        precision=precision,
        samples=lambda: ({INPUT_NAME: image[np.newaxis]} for image in images()),
        auto=auto,
        num_streams=num_streams,
    )
    return _staged_predictor(run, num_streams=num_streams)


def _staged_predictor(
    run: ModelFunction, dtype: str = "uint8", batching_error: str = "", num_streams: int = 1
) -> StagedPredictor:
    def prepare(image: np.ndarray) -> PreparedImage:
        return PreparedImage(image, group=image.shape)

    def detect(prepared: Sequence[np.ndarray]) -> list[ImageDetections]:
        return predictor.remove_padding(run({INPUT_NAME: np.stack(prepared).astype(dtype)}))

    return StagedPredictor(prepare, detect, batching_error, num_streams)
