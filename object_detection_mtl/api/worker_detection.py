"""Detection by an Apache Beam pipeline, whose workers load the detector themselves."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from object_detection_mtl.config import pipeline

if TYPE_CHECKING:
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.inference.detection_options import DetectionOptions
    from object_detection_mtl.inference.detection_run import DetectionSummary
    from object_detection_mtl.inference.predictor import Predictor, StagedPredictor
    from object_detection_mtl.inference.sources.input_files import InputFile


def detect_on_workers(
    detector: Detector,
    find: Callable[[], Sequence[InputFile]],
    options: DetectionOptions,
    *,
    runner: str,
    runner_options: Sequence[str] = (),
    num_shards: int = 1,
) -> DetectionSummary:
    """Detect in files by a Beam pipeline, and wait for it.

    Args:
        detector: its weights are in files; workers load them from there.
        find: returns the files; each worker calls it.
        options: outputs and their directory.
        runner: name of a Beam runner.
        runner_options: "name=value" each.
        num_shards: number of detection files.

    Raises:
        ValueError: workers cannot load the detector, an option is for one machine only, Beam is
            not installed, or the pipeline failed.
    """
    from object_detection_mtl.inference import beam_detection, predictor

    if options.image_ids is not None:
        raise ValueError("image_ids are for one machine; omit them, or omit runner")
    load = _worker_loader(detector)
    # An error of the model is reported here rather than by every worker.
    predictor.check_batch_size(detector.predictor(_raise_without_image), options.batch_size)
    return beam_detection.detect_with_beam(
        load, find, options, num_shards=num_shards, runner=runner, runner_options=runner_options
    )


def _worker_loader(detector: Detector) -> Callable[[], Predictor]:
    """Return a function that loads the predictor of a detector on another machine."""
    from object_detection_mtl.inference import predictor, runtime_predictor

    if detector.model is None:
        from_export = (
            predictor.from_saved_model
            if os.path.isdir(detector.source)
            else runtime_predictor.from_exported_model
        )
        return functools.partial(from_export, detector.source)
    if not detector.source:
        raise ValueError(
            "the weights of this detector are in memory only, where workers cannot load them; "
            "train or export it and detect with load_detector(...) of the result"
        )
    if detector.engine != "tensorflow":
        raise ValueError(
            f"engine {detector.engine!r} with a runner would convert the model in every worker; "
            "export it once (export_detector(..., format=...)) and load the result"
        )
    assert detector.config is not None
    config_text = pipeline.to_text(detector.config)
    return functools.partial(_load_from_checkpoint, config_text, detector.source)


def _load_from_checkpoint(config_text: str, prefix: str) -> StagedPredictor:
    """Return the predictor of a checkpoint."""
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.checkpoints import loading
    from object_detection_mtl.inference import predictor

    config = pipeline.parse(config_text)
    model = model_builder.build(config.model)
    loading.load_detector_weights(
        model, prefix, use_moving_averages=config.eval_config.use_moving_averages
    )
    return predictor.from_detector(model)


def _raise_without_image() -> np.ndarray:
    raise AssertionError("only the engine auto reads an image")
