"""Train, evaluate and export from a configuration."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from object_detection_mtl.api import detector_export, model_loading
from object_detection_mtl.api.quantization import QuantizationRequest
from object_detection_mtl.builders import (
    evaluation_builder,
    input_reader_builder,
    label_builder,
    model_builder,
)
from object_detection_mtl.checkpoints import checkpoint_search, checkpoint_stream
from object_detection_mtl.config import label_map, pipeline, validation
from object_detection_mtl.data.data_service import require_dispatcher
from object_detection_mtl.data.input_pipeline import ExamplePipeline
from object_detection_mtl.evaluation.evaluator import names_by_id
from object_detection_mtl.evaluation.periodic_evaluator import PeriodicEvaluator
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.runtimes import runtime_conversion
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.protos import pipeline_pb2
from object_detection_mtl.reporting.checkpoint_report import ReportRequest
from object_detection_mtl.training.best_checkpoint import BestCheckpoint, PeriodicEvaluation
from object_detection_mtl.training.interruption import EarlyStopError
from object_detection_mtl.training.run_options import RunOptions
from object_detection_mtl.training.training_callbacks import CallbackList

if TYPE_CHECKING:
    from object_detection_mtl.training.run_options import TrainableModel, TrainingResult


def train(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str | os.PathLike[str],
    options: RunOptions | None = None,
    *,
    strategy: tf.distribute.Strategy | None = None,
    periodic_evaluation: PeriodicEvaluation | None = None,
    callbacks: Sequence[Any] = (),
    initialize: Callable[[TwoStageDetector], None] | None = None,
) -> TrainingResult:
    """Train a detector, from the newest checkpoint of `model_dir` if there is one.

    Args:
        config: resolved; a copy is written to `model_dir`.
        model_dir: directory of the checkpoints, and of the events in `train`.
        options: what is not in the config; None for the defaults.
        strategy: instead of the one that the options describe.
        periodic_evaluation: evaluates in between, keeps the best checkpoint, ends the run early.
        callbacks: see `training_callbacks.TrainingCallback`.
        initialize: loads the first weights of a new run; None draws them from the seed and loads
            the config's fine_tune_checkpoint.

    Returns:
        The global step, the last checkpoint and the last metrics.

    Raises:
        ConfigError, ValueError, FileNotFoundError: the config, one of its files or `model_dir`
            is unusable; the message says why.
        NonFiniteError: a loss became NaN or infinite.
        WorkerLostError: another worker of the cluster ended or cannot be reached.
    """
    # Orbit takes seconds to import, and only training needs it.
    from object_detection_mtl.builders import train_config_builder
    from object_detection_mtl.training import distribution, failures, training_loop

    options = options or RunOptions()
    observers = CallbackList(callbacks)
    validation.require_training(config)
    if periodic_evaluation:
        validation.require_evaluation(config)
        periodic_evaluation.check(options.checkpoint_every_n, options.num_workers)
    train_config = config.train_config
    loop_options = train_config_builder.build_loop_options(
        train_config, options, _class_names(config)
    )
    load_first_weights = _first_weights(config, model_dir)
    _check_input(config, options.data_service)
    is_cluster = options.num_workers > 1
    with failures.lost_worker_explained(os.fspath(model_dir), is_cluster=is_cluster):
        chosen_strategy = strategy or distribution.make_strategy(
            num_workers=options.num_workers, use_tpu=options.use_tpu, tpu_name=options.tpu_name
        )
    bfloat16 = train_config_builder.choose_bfloat16(train_config, chosen_strategy)
    # Before the seed is set: the training is the same with and without it.
    evaluator = _make_periodic(config, model_dir, periodic_evaluation, observers)
    keras.utils.set_random_seed(train_config.seed)

    def on_block(step: int, losses: Mapping[str, float]) -> None:
        if observers.on_step(step, losses):
            raise EarlyStopError("a callback ended the training")

    def make_model() -> TrainableModel:
        detector = model_builder.build(config.model, is_training=True)
        return train_config_builder.build_model(
            train_config, detector, jit_compile=options.jit_compile, bfloat16=bfloat16
        )

    def save_config() -> None:
        if distribution.is_chief(chosen_strategy):
            pipeline.save(config, os.path.join(model_dir, "pipeline.config"))

    result = training_loop.run_training(
        model_dir,
        strategy=chosen_strategy,
        make_model=make_model,
        initialize=initialize or load_first_weights,
        make_dataset=functools.partial(_training_pipeline, config, options.data_service),
        batch_size=train_config.batch_size,
        options=loop_options,
        on_start=save_config,
        on_checkpoint=None if evaluator is None else evaluator.on_checkpoint,
        on_block=on_block,
    )
    if evaluator is not None and result.interrupted_by is None and result.metrics:
        evaluator.on_end(result.step, result.checkpoint)
    observers.on_end(result)
    return result


def _first_weights(
    config: pipeline_pb2.TrainEvalPipelineConfig, model_dir: str | os.PathLike[str]
) -> Callable[[TwoStageDetector], None]:
    """Return a function that draws the weights of a new run and loads its checkpoint, if any.

    Raises:
        ValueError: the checkpoint lies in `model_dir`.
    """
    from object_detection_mtl.builders import mtl_builder, train_config_builder
    from object_detection_mtl.training import first_weights

    load_checkpoint = train_config_builder.build_initializer(
        config.train_config, model_dir, mtl_builder.fresh_scopes(config.model.mtl)
    )

    def load(detector: TwoStageDetector) -> None:
        first_weights.draw(detector, config.train_config.seed)
        load_checkpoint(detector)

    return load


def _training_pipeline(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    data_service: str | None,
    detector: TwoStageDetector,
    context: tf.distribute.InputContext,
    batch_size: int,
    start_example: int,
) -> ExamplePipeline:
    """Return the training data of one input pipeline, see `training_loop.run_training`."""
    from object_detection_mtl.builders import train_config_builder

    train_config = config.train_config
    return input_reader_builder.build_pipeline(
        config.train_input_reader,
        preprocess_fn=input_reader_builder.preprocess_one(detector),
        num_classes=detector.num_classes,
        batch_size=batch_size,
        is_training=True,
        augmentation_steps=train_config.data_augmentation_options,
        seed=train_config.seed,
        start_example=start_example,
        max_boxes=train_config_builder.max_boxes(train_config),
        labels=label_builder.build(config.model),
        input_context=context,
        data_service=data_service,
    )


def _check_input(config: pipeline_pb2.TrainEvalPipelineConfig, data_service: str | None) -> None:
    """Refuse training data that cannot be used, before a model is built."""
    if data_service:
        require_dispatcher(data_service)
    input_reader_builder.examine_records(
        config.train_input_reader, config.model.faster_rcnn, is_training=True
    )


def _class_names(config: pipeline_pb2.TrainEvalPipelineConfig) -> dict[int, str]:
    """Return class id -> name of the training data; empty without a label map."""
    path = config.train_input_reader.label_map_path
    return names_by_id(label_map.load(path)) if path else {}


def _make_periodic(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    model_dir: str | os.PathLike[str],
    options: PeriodicEvaluation | None,
    observers: CallbackList,
) -> PeriodicEvaluator | None:
    if options is None:
        return None
    evaluation = evaluation_builder.build_evaluation(config, model_dir)
    best = BestCheckpoint(model_dir, options.metric, options.patience)
    return PeriodicEvaluator(options, evaluation, best, observers)


def evaluate(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_dir: str,
    model_dir: str | os.PathLike[str],
    *,
    timeout: float = 3600.0,
    min_interval: float | None = None,
    once: bool = False,
    on_train_data: bool = False,
    num_train_steps: int | None = None,
    engine: str = "tensorflow",
    precision: str = "float32",
    report: ReportRequest | None = None,
    on_damaged_checkpoint: str = checkpoint_search.FALLBACK,
) -> dict[str, float]:
    """Evaluate the newest checkpoint, then every new one until training ends.

    Args:
        config: resolved. The first eval_input_reader is evaluated.
        checkpoint_dir: checkpoint directory; or a checkpoint prefix, which is evaluated once.
        model_dir: directory of the events and `metrics-<step>.json`, in `eval/<reader name>`.
        timeout: maximum seconds to wait for a new checkpoint.
        min_interval: minimum seconds between two evaluations; None for
            eval_config.eval_interval_secs.
        once: evaluate the newest checkpoint and return.
        on_train_data: evaluate the train_input_reader without augmentation; its default name is
            "train".
        num_train_steps: step after which training ends; overrides train_config.num_steps.
        engine: see `runtime_conversion.function_in_engine`. Engines other than TensorFlow give no
            losses and no metrics of auxiliary tasks.
        precision: see `runtime_conversion.function_in_engine`.
        report: report of the evaluated checkpoint, with `once`; None for no report.
        on_damaged_checkpoint: "fallback" evaluates the newest complete checkpoint; "fail" stops
            if the newest is corrupt.

    Returns:
        The metrics of the last evaluation.

    Raises:
        ConfigError, ValueError, FileNotFoundError: as `train`; no checkpoint appeared in time.
    """
    runtime_conversion.require_conversion(engine, precision)
    validation.require_evaluation(config, on_train_data=on_train_data)
    last_step = config.train_config.num_steps if num_train_steps is None else num_train_steps
    if min_interval is None:
        min_interval = config.eval_config.eval_interval_secs
    once = once or checkpoint_search.means_one_checkpoint(checkpoint_dir)
    if report and not once:
        raise ValueError("a report describes one checkpoint; evaluate once, or omit the report")
    prefixes: Iterator[str]
    if once:
        prefixes = iter(
            [checkpoint_search.resolve_checkpoint(checkpoint_dir, on_damaged=on_damaged_checkpoint)]
        )
    else:
        prefixes = checkpoint_stream.new_checkpoints(
            checkpoint_dir,
            timeout=timeout,
            min_interval=min_interval,
            on_damaged=on_damaged_checkpoint,
        )
    evaluation = evaluation_builder.build_evaluation(
        config,
        model_dir,
        on_train_data=on_train_data,
        engine=engine,
        precision=precision,
        report=report,
    )
    metrics: dict[str, float] = {}
    if not once:
        print(f"waiting for checkpoints in {checkpoint_dir}, {timeout:g} s for each", flush=True)
    for prefix in prefixes:
        step, metrics = evaluation.evaluate(prefix)
        if 0 < last_step <= step:
            break
    else:
        if not once:
            print(f"no new checkpoint for {timeout:g} s: evaluation ends", flush=True)
    return metrics


def export(
    config: pipeline_pb2.TrainEvalPipelineConfig,
    checkpoint_path: str,
    output_directory: str,
    options: ExportOptions | None = None,
    quantization: QuantizationRequest | None = None,
) -> str:
    """Export a trained detector; see `export.saved_model` for the layout.

    Args:
        config: resolved, that of the training.
        checkpoint_path: checkpoint prefix, or checkpoint directory for its newest checkpoint.
        output_directory: output; an earlier export in it is replaced.
        options: input type and graph of the SavedModel; None for the default.
        quantization: calibration of precision "int8".

    Returns:
        The prefix of the exported checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint belongs to another model, or the output directory has other
            contents.
    """
    saved_model.check_output_directory(output_directory)
    detector = model_loading.load_detector(checkpoint_path, config=config)
    detector_export.export_with_options(
        detector, output_directory, options or ExportOptions(), quantization
    )
    return detector.source
