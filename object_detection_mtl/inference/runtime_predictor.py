"""Detecting with other engines than TensorFlow: exported models of theirs, or converted here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.runtimes import runtime_conversion, runtime_models
from object_detection_mtl.export.runtimes.runtime_choice import Run
from object_detection_mtl.export.runtimes.runtime_models import TENSORFLOW
from object_detection_mtl.export.serving_inputs import INPUT_NAME
from object_detection_mtl.inference import predictor
from object_detection_mtl.inference.sources import image_stream, input_files
from object_detection_mtl.inference.sources.image_source import Reading
from object_detection_mtl.inference.sources.image_stream import Numbered
from object_detection_mtl.inference.sources.input_files import PictureError, PictureFile
from object_detection_mtl.inference.stages import Found, Prepared, StagedPredictor


def from_model(path: str) -> StagedPredictor:
    """A model.xml or model.onnx of the exporter.

    Raises:
        FileNotFoundError, ValueError: as `runtimes.load`; or it is no detector.
    """
    runtime = runtime_models.load(path)
    if set(runtime.inputs) != {INPUT_NAME}:
        raise ValueError(
            f"model {path!r} is no detector as exporter_main_v2 writes it: its inputs are "
            f"{', '.join(runtime.inputs)} (expected {INPUT_NAME})"
        )
    given = runtime.inputs[INPUT_NAME]
    alone = (
        f"model {path!r} takes {given.batch} picture at a time; export it with --dynamic_batch"
        if given.batch is not None
        else ""
    )
    return _predictor(runtime.run, given.dtype, alone)


def class_names(path: str) -> dict[int, str]:
    """The names that were exported with a model."""
    names = runtime_models.metadata(path).get("class_names", {})
    return {int(number): name for number, name in names.items()}


def from_detector(
    detector: Any, engine: str, precision: str, picture: Callable[[], np.ndarray]
) -> StagedPredictor:
    """A detector that has its weights, built for inference, in an engine.

    Args:
        engine, precision: see `conversion.run_with`.
        picture: a real one [H, W, 3] uint8.

    Raises:
        ValueError: as `conversion.run_with`.
    """
    if engine == TENSORFLOW:
        runtime_conversion.require(engine, precision)
        return predictor.from_detector(detector)
    _, run = runtime_conversion.run_with(
        engine,
        lambda: DetectionModule(detector, ExportOptions(dynamic_batch=True)),
        precision=precision,
        sample=lambda: {INPUT_NAME: picture()[np.newaxis]},
    )
    return _predictor(run)


def _predictor(run: Run, dtype: str = "uint8", one_at_a_time: str = "") -> StagedPredictor:
    def detect(prepared: Sequence[np.ndarray]) -> list[Found]:
        return predictor.without_padding(run({INPUT_NAME: np.stack(prepared).astype(dtype)}))

    return StagedPredictor(
        lambda picture: Prepared(picture, group=picture.shape), detect, one_at_a_time
    )


def first_picture(files: Iterable[PictureFile]) -> np.ndarray:
    """The first picture that can be read.

    Raises:
        ValueError: none can.
    """
    files = list(files)
    labels = [str(file.path) for file in files]
    with input_files.large_pictures_without_warning():
        for item in image_stream.stream(
            image_stream.open_all(files, Reading()), labels, lambda _: False
        ):
            if isinstance(item, Numbered):
                with contextlib.suppress(PictureError, OSError):
                    return item.entry.load().picture
    raise ValueError("engine 'auto' chooses by a picture, and none of those given can be read")


def trained_beside(saved_model_directory: str) -> tuple[str, str]:
    """The pipeline.config and the checkpoint's folder that were exported with a SavedModel.

    Raises:
        FileNotFoundError: they are not beside it.
    """
    above = os.path.dirname(os.path.abspath(saved_model_directory))
    paths = (
        os.path.join(above, saved_model.CONFIG_NAME),
        os.path.join(above, saved_model.CHECKPOINT_NAME),
    )
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            "other engines than TensorFlow are given the checkpoint from which SavedModel "
            f"{saved_model_directory!r} was exported, and there is no {' and no '.join(missing)}; "
            "export for the engine (exporter_main_v2 --format) and give --exported_model"
        )
    return paths
