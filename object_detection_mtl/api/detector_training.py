"""Training of a detector on any dataset."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import (
    config_loading,
    dataset_config,
    dataset_records,
    detector_building,
    model_loading,
)
from object_detection_mtl.api.detector import Detector
from object_detection_mtl.cli import process_settings
from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.training.training_callbacks import TrainingCallback

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation


@dataclass(frozen=True)
class TrainingRun:
    """The end of a training.

    Attributes:
        step: number of steps done.
        checkpoint: prefix of the newest checkpoint.
        losses: TensorBoard name -> mean of the last logged steps; empty if no step was needed.
        metrics: TensorBoard name -> value of the last evaluation; empty without one.
        interrupted_by: number of the signal that stopped the training, or None.
        skipped_steps: steps that were skipped because a loss or the gradient was not finite.
        config: the configuration that was trained, with the paths of the data.
    """

    step: int
    checkpoint: str
    losses: Mapping[str, float]
    metrics: Mapping[str, float]
    interrupted_by: int | None
    skipped_steps: int
    config: TrainEvalPipelineConfig = field(repr=False)

    @functools.cached_property
    def detector(self) -> Detector:
        """The trained detector; loaded when it is first used."""
        return model_loading.load_detector(self.checkpoint, config=self.config)


class _LastMetrics(TrainingCallback):
    """Keeps the metrics of the last evaluation."""

    def __init__(self) -> None:
        self.metrics: Mapping[str, float] = {}

    def on_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep the metrics."""
        self.metrics = metrics


def train_detector(
    config: TrainEvalPipelineConfig | Detector | str | os.PathLike[str],
    model_dir: str | os.PathLike[str],
    *,
    train: Any = None,
    validation: Any = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    callbacks: Sequence[Any] = (),
    num_steps: int | None = None,
    checkpoint_every_n: int | None = None,
    evaluate_every_n: int | None = None,
    best_metric: str | None = None,
    patience: int | None = None,
    log_every_n: int = 100,
    record_summaries: bool = True,
    jit_compile: bool = False,
    mixed_precision: bool | None = None,
    num_workers: int = 1,
    use_tpu: bool = False,
    tpu_name: str | None = None,
    data_service: str | None = None,
    on_damaged_checkpoint: str = "fallback",
    skip_nonfinite_steps: int = 0,
) -> TrainingRun:
    """Train a detector, or continue the training of a directory.

    A dataset is one of:

    - record files: a path or pattern, or a list of them;
    - a VOC directory (with Annotations and JPEGImages), or a pair (directory, name of a set of
      ImageSets/Main); a directory with sets means "train", as validation data "val";
    - a pair (COCO instances file, directory of the images);
    - a finite iterable of dictionaries, such as a tf.data.Dataset: `image` [height, width, 3]
      uint8 RGB; `boxes` [N, 4], (ymin, xmin, ymax, xmax) in pixels of the image; `labels` [N]
      integers from 1 to the number of classes; optionally `image_id` (a text or number),
      `difficult` and `is_crowd` [N]. An image without objects has N = 0.

    All but records are read once and written as records to `model_dir/data`; images in memory are
    stored as PNG. Shuffling, the configuration's augmentation, the labels of the auxiliary tasks,
    batches and resumption are then those of records, and the command model_main_tf2 can continue
    the training with the pipeline.config that it leaves in `model_dir`.

    Args:
        config: a configuration, or the name of a sample or the path of a pipeline.config; or a
            detector. A detector that was loaded or trained before starts with its weights, and
            has the trained weights at the end.
        model_dir: directory of the checkpoints; TensorBoard's events are in `train` and `eval`.
            If it has checkpoints, the training continues from the newest one.
        train: dataset to train on; None for the records of the configuration.
        validation: dataset to evaluate on during the training; None for none, or with
            `evaluate_every_n` for the records of the configuration.
        class_names: names of the classes 1, 2, ..., or number -> name. Default: those of the
            detector, of the configuration's label map, or of a VOC or COCO dataset.
        callbacks: see `TrainingCallback`.
        num_steps: step at which the training ends; None for train_config.num_steps.
        checkpoint_every_n: steps between checkpoints; None for `evaluate_every_n`, else 1000.
        evaluate_every_n: steps between evaluations, a multiple of `checkpoint_every_n`; the last
            checkpoint is evaluated, too, and the best is kept in `model_dir/best`. None with
            `validation`: every checkpoint.
        best_metric: TensorBoard name of the metric that decides; None for the first mAP.
        patience: evaluations without improvement after which the training ends; None: no limit.
        log_every_n: steps between logs of the mean losses and calls of `on_step`.
        record_summaries: write images of the input to TensorBoard, too.
        jit_compile: compile the training step with XLA.
        mixed_precision: train in bfloat16 and float32, on devices with bfloat16 arithmetic; None
            for `train_config.use_bfloat16`.
        num_workers: 1: all visible GPUs, or the CPU. More: number of workers, one process each,
            whose addresses are in the environment variable TF_CONFIG; they need records.
        use_tpu: train on a TPU.
        tpu_name: name of the TPU; auto-detected if only one exists.
        data_service: "grpc://host:port" of a tf.data service whose workers read, decode and augment
            the images; the order of the images is not repeatable then.
        on_damaged_checkpoint: "fallback" continues from the newest complete checkpoint if the
            newest is corrupt; "fail" stops.
        skip_nonfinite_steps: steps that may be skipped because a loss or the gradient is not
            finite.

    Returns:
        Steps, losses, metrics, and the trained detector.

    Raises:
        FileNotFoundError: a file or directory does not exist.
        ValueError: the configuration, a dataset, an example (`ExampleError`) or an argument is
            unusable; the message says what was expected.
        NonFiniteError: a loss became NaN or infinite; the steps before are saved.

    Example:
        >>> import numpy as np
        >>> import object_detection_mtl as odm
        >>> config = odm.load_config("run/pipeline.config")
        >>> example = {
        ...     "image": np.zeros((64, 80, 3), np.uint8),
        ...     "boxes": [[10, 20, 50, 60]],
        ...     "labels": [1],
        ... }
        >>> run = odm.train_detector(
        ...     config, "run_of_examples", train=[example, example], num_steps=1,
        ...     class_names=["square", "stripe"])
        >>> run.step, run.detector.class_names
        (1, {1: 'square', 2: 'stripe'})
    """
    detector = config if isinstance(config, Detector) else None
    resolved = config_loading.as_config(_config_of(config))
    process_settings.use_training_kernels(resolved, jit_compile=jit_compile)
    from object_detection_mtl import jobs
    from object_detection_mtl.training.run_options import RunOptions

    if evaluate_every_n is None and validation is not None:
        evaluate_every_n = checkpoint_every_n or min(1000, num_steps or 1000)
    if checkpoint_every_n is None:
        checkpoint_every_n = evaluate_every_n or 1000
    periodic = _periodic_evaluation(evaluate_every_n, checkpoint_every_n, best_metric, patience)
    _check_placeholders(resolved, train, validation, periodic)
    names = detector_building.class_numbers(class_names) or (
        detector.class_names if detector is not None else {}
    )
    resolved = _with_datasets(resolved, model_dir, train, validation, names, num_workers)
    if mixed_precision is not None:
        resolved = copy.deepcopy(resolved)
        resolved.train_config.use_bfloat16 = mixed_precision
    last = _LastMetrics()
    result = jobs.train(
        resolved,
        os.path.expanduser(model_dir),
        RunOptions(
            num_steps=num_steps,
            checkpoint_every_n=checkpoint_every_n,
            log_every_n=log_every_n,
            record_summaries=record_summaries,
            jit_compile=jit_compile,
            num_workers=num_workers,
            use_tpu=use_tpu,
            tpu_name=tpu_name,
            data_service=data_service,
            on_damaged_checkpoint=on_damaged_checkpoint,
            skip_nonfinite_steps=skip_nonfinite_steps,
        ),
        periodic_evaluation=periodic,
        callbacks=[last, *callbacks],
        initialize=_copy_weights_of(detector),
    )
    if detector is not None:
        detector.config = resolved
        model_loading.load_weights(detector, result.checkpoint)
    return TrainingRun(
        step=result.step,
        checkpoint=result.checkpoint,
        losses=result.metrics,
        metrics=last.metrics,
        interrupted_by=result.interrupted_by,
        skipped_steps=result.skipped_steps,
        config=resolved,
    )


def _config_of(config: Any) -> Any:
    """Return the configuration of a detector with a network, or what was given."""
    if not isinstance(config, Detector):
        return config
    config.require_model("train it")
    return config.config


def _with_datasets(
    config: TrainEvalPipelineConfig,
    model_dir: str | os.PathLike[str],
    train: Any,
    validation: Any,
    class_names: Mapping[int, str],
    num_workers: int,
) -> TrainEvalPipelineConfig:
    given = [dataset for dataset in (train, validation) if dataset is not None]
    if not given:
        return config
    if num_workers > 1 and not all(map(dataset_records.is_record_source, given)):
        raise ValueError(
            f"num_workers is {num_workers}, and several workers train on record files only; "
            "convert the dataset first (create_pascal_tf_record, create_coco_tf_record)"
        )
    changed = dataset_config.DatasetConfig(config, model_dir, class_names)
    if train is not None:
        changed.set_train(train)
    if validation is not None:
        changed.set_validation(validation)
    return changed.config


def _copy_weights_of(detector: Detector | None) -> Any:
    """Return a function that copies a detector's weights; None for a new detector."""
    if detector is None or not detector.source:
        return None
    from object_detection_mtl.checkpoints import native

    values = {
        name: variable.numpy() for name, variable in native.named_variables(detector.model).items()
    }

    def copy(model: Any) -> None:
        for name, variable in native.named_variables(model).items():
            variable.assign(values[name])

    return copy


def _periodic_evaluation(
    evaluate_every_n: int | None,
    checkpoint_every_n: int,
    best_metric: str | None,
    patience: int | None,
) -> PeriodicEvaluation | None:
    """Return the evaluations during the training; None without `evaluate_every_n`.

    Raises:
        ValueError: an interval is below 1, is no multiple, or is missing.
    """
    from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation

    if evaluate_every_n is None:
        if best_metric is not None or patience is not None:
            raise ValueError(
                "best_metric and patience need evaluations; give validation or evaluate_every_n"
            )
        return None
    for name, value in (
        ("evaluate_every_n", evaluate_every_n),
        ("checkpoint_every_n", checkpoint_every_n),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    if evaluate_every_n % checkpoint_every_n:
        raise ValueError(
            f"evaluate_every_n is {evaluate_every_n}, but checkpoints are evaluated, and "
            f"checkpoint_every_n is {checkpoint_every_n}; give a multiple of it"
        )
    return PeriodicEvaluation(evaluate_every_n, best_metric, patience, at_end=True)


def _check_placeholders(
    config: TrainEvalPipelineConfig, train: Any, validation: Any, periodic: Any
) -> None:
    """Refuse the placeholders of sample configurations where they would be read.

    Raises:
        ConfigError: a path is a placeholder; the message names the argument that replaces it.
    """
    if config.train_config.fine_tune_checkpoint.startswith(dataset_config.PLACEHOLDER):
        raise ConfigError(
            f"fine_tune_checkpoint is {config.train_config.fine_tune_checkpoint!r}, the "
            "placeholder of a sample; set train_config.fine_tune_checkpoint (in Python: "
            "load_config(..., fine_tune_checkpoint=path)), or nothing to start with random weights"
        )
    if train is None:
        dataset_config.refuse_placeholders([config.train_input_reader], "train_detector", "train")
    if periodic is not None and validation is None:
        dataset_config.refuse_placeholders(config.eval_input_reader, "train_detector", "validation")
