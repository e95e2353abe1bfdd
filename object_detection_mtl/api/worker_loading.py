"""Loading of a detector by the workers of an Apache Beam pipeline."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from object_detection_mtl.config import pipeline

if TYPE_CHECKING:
    from object_detection_mtl.inference.predictor import Predictor, StagedPredictor
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig


def worker_loader(
    source: str, config: TrainEvalPipelineConfig | None, *, engine: str
) -> Callable[[], Predictor]:
    """Return a function that loads the predictor of a detector on another machine.

    Args:
        source: path of the detector's weights or export; "" for weights in memory.
        config: configuration of weights; None for an export.
        engine: runtime of the detector.

    Raises:
        ValueError: another machine cannot load the detector.
    """
    from object_detection_mtl.inference import predictor, runtime_predictor

    if config is None:
        from_export = (
            predictor.from_saved_model
            if os.path.isdir(source)
            else runtime_predictor.from_exported_model
        )
        return functools.partial(from_export, source)
    if not source:
        raise ValueError(
            "the weights of this detector are in memory only, where workers cannot load them; "
            "train or export it and detect with load_detector(...) of the result"
        )
    if engine != "tensorflow":
        raise ValueError(
            f"engine {engine!r} with a runner would convert the model in every worker; "
            "export it once (export_detector(..., format=...)) and load the result"
        )
    return functools.partial(_load_from_checkpoint, pipeline.to_text(config), source)


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
