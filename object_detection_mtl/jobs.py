"""The things that a configuration can do."""

from __future__ import annotations

from collections.abc import Sequence

from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import inputs, saved_model, weights
from object_detection_mtl.inference import names, predictor
from object_detection_mtl.inference import run as inference_run
from object_detection_mtl.inference.pictures import PictureFile
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.protos import pipeline_pb2


def export(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_path: str,
    output_directory: str,
    *,
    input_type: str = "image_tensor",
) -> str:
    """Exports a trained detector; see `export.saved_model` for the layout.

    Args:
        config: resolved, that of the training.
        checkpoint_path: prefix of a checkpoint, or a directory whose newest is meant.
        output_directory: where to write; an earlier export in it is replaced.
        input_type: one of `export.inputs.INPUT_TYPES`.

    Returns:
        The prefix of the checkpoint that was exported.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: a checkpoint of another model, an unknown input type, an output directory of
            something else.
    """
    inputs.input_type(input_type)
    saved_model.check_output(output_directory)
    detector, prefix = _trained_detector(config, checkpoint_path)
    saved_model.export(
        detector,
        output_directory,
        config_text=pipeline.to_text(config),
        input_type=input_type,
        label_map_path=names.find_label_map(config),
    )
    return prefix


def predict(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_path: str,
    files: Sequence[PictureFile],
    options: inference_run.Options,
) -> inference_run.Summary:
    """Detects on picture files; see `inference.run` for what is written.

    Args:
        config: resolved, that of the training.
        checkpoint_path: prefix of a checkpoint, or a directory whose newest is meant.
        files: of `inference.pictures.find`.
        options: what to write and where.

    Raises:
        FileNotFoundError, ValueError: as `export`.
    """
    detector, _ = _trained_detector(config, checkpoint_path)
    return inference_run.detect_files(predictor.from_detector(detector), files, options)


def _trained_detector(
    config: pipeline_pb2.TrainEvalPipelineConfig, checkpoint_path: str
) -> tuple[TwoStageDetector, str]:
    """The detector with its weights - the moving averages where they were trained and are asked
    for - and the prefix of their checkpoint."""
    prefix = weights.resolve(checkpoint_path)
    detector = model_builder.build(config.model, is_training=False)
    averages = config.train_config.optimizer.use_moving_average
    weights.load(detector, prefix, use_moving_averages=averages)
    return detector, prefix
