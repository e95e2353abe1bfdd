"""Evaluations of checkpoints from a configuration."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable

import numpy as np

from object_detection_mtl.builders import (
    eval_config_builder,
    input_reader_builder,
    label_builder,
    model_builder,
)
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.data import record_files
from object_detection_mtl.evaluation import checkpoint_evaluation, model_evaluation
from object_detection_mtl.evaluation.checkpoint_evaluation import CheckpointEvaluation
from object_detection_mtl.evaluation.inference_journal import describe_files
from object_detection_mtl.evaluation.metrics_output import EvaluationWriter
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.protos import input_reader_pb2, pipeline_pb2
from object_detection_mtl.reporting.checkpoint_report import ReportRequest


def build_evaluation(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str | os.PathLike[str],
    *,
    detector: TwoStageDetector | None = None,
    predict: Callable[[np.ndarray], ImageDetections] | None = None,
    on_train_data: bool = False,
    engine: str = "tensorflow",
    precision: str = "float32",
    report: ReportRequest | None = None,
) -> CheckpointEvaluation:
    """Return the evaluation of a configuration's first eval_input_reader.

    Args:
        config: resolved.
        model_dir: directory of the events and metrics, in `eval/<reader name>`.
        detector: the evaluated detector; None builds one.
        predict: the evaluated model instead of a detector: image [H, W, 3] uint8 -> detections. It
            has no losses and no metrics of auxiliary tasks.
        on_train_data: evaluate the train_input_reader without augmentation; its default name is
            "train".
        engine: see `runtime_conversion.run_with`.
        precision: see `runtime_conversion.run_with`.
        report: report of every evaluated checkpoint; None for no report.

    Raises:
        ConfigError, ValueError, FileNotFoundError: the config or one of its files is unusable.
    """
    reader, name = _evaluated_reader(config, on_train_data)
    if predict is None and detector is None:
        detector = model_builder.build(config.model)
    num_classes = config.model.faster_rcnn.num_classes
    input_reader_builder.examine_records(reader, config.model.faster_rcnn, is_training=False)
    categories = input_reader_builder.load_label_map(reader, num_classes) or [
        Category(number, str(number), str(number)) for number in range(1, num_classes + 1)
    ]
    options = dataclasses.replace(
        eval_config_builder.build_options(config.eval_config), engine=engine, precision=precision
    )
    examples = input_reader_builder.build_pipeline(
        reader,
        preprocess_fn=(
            model_evaluation.keep_image
            if predict is not None
            else input_reader_builder.preprocess_one(detector)
        ),
        num_classes=num_classes,
        batch_size=1 if predict is not None else config.eval_config.batch_size,
        is_training=False,
        retain_original_images=predict is not None or options.num_visualizations > 0,
        # For the losses.
        labels=None if predict is not None else label_builder.build(config.model),
    )
    dataset = examples.dataset
    if config.model.faster_rcnn.number_of_stages == 1:
        categories, dataset = (
            [checkpoint_evaluation.OBJECT],
            checkpoint_evaluation.as_objects(dataset),
        )
    return CheckpointEvaluation(
        detector,
        dataset,
        eval_config_builder.build_evaluators(config.eval_config, categories),
        categories,
        EvaluationWriter(model_dir, name),
        options,
        report.of_records(categories, reader.tf_record_input_reader.input_path) if report else None,
        _identity(config, reader),
        examples.describe,
        examples.num_examples,
        None if predict is None else model_evaluation.make_infer_fn(predict),
    )


def _identity(
    config: pipeline_pb2.TrainEvalPipelineConfig, reader: input_reader_pb2.InputReader
) -> str:
    """Return a text that differs if the model, the reader or its files do."""
    files = record_files.expand_patterns(reader.tf_record_input_reader.input_path)
    return "\n".join(
        [
            str(config.model),
            str(config.eval_config),
            str(reader),
            *describe_files(files),
        ]
    )


def _evaluated_reader(
    config: pipeline_pb2.TrainEvalPipelineConfig, on_train_data: bool
) -> tuple[input_reader_pb2.InputReader, str]:
    """Return the reader to evaluate and the name of its results' directory."""
    if on_train_data:
        return config.train_input_reader, config.train_input_reader.name or "train"
    if len(config.eval_input_reader) > 1:
        logging.getLogger(__name__).warning(
            "the config has %d eval_input_readers; only the first is evaluated, as in the OD API",
            len(config.eval_input_reader),
        )
    return config.eval_input_reader[0], config.eval_input_reader[0].name
