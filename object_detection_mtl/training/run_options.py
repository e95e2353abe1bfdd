"""Options, model and result of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from object_detection_mtl.checkpoints.checkpoint_search import FALLBACK
from object_detection_mtl.training.checkpointing import MAX_TO_KEEP
from object_detection_mtl.training.optimizers import DetectionOptimizer
from object_detection_mtl.training.training_step import StepOptions


@dataclass(frozen=True)
class LoopOptions:
    """Options of the training loop.

    Attributes:
        num_steps: the run ends exactly at this step; None: it ends when it is stopped.
        checkpoint_every_n: steps between checkpoints; one more is written at the end.
        log_every_n: number of steps of a block, whose mean losses are logged.
        record_summaries: log images too: inputs, and, after the first block, their labels.
        class_names: class id -> name, for the labels.
        max_to_keep: number of newest checkpoints to keep.
        keep_every_n_hours: additionally keep one checkpoint for every n hours; None for none.
        on_damaged_checkpoint: "fallback" continues from the newest complete checkpoint; "fail"
            stops if the newest is corrupt.
        skip_nonfinite_steps: steps of the run that may be skipped because a loss or the gradient
            is not finite.
    """

    num_steps: int | None = None
    checkpoint_every_n: int = 1000
    log_every_n: int = 100
    record_summaries: bool = True
    class_names: Mapping[int, str] = dataclasses.field(default_factory=dict)
    max_to_keep: int = MAX_TO_KEEP
    keep_every_n_hours: float | None = None
    on_damaged_checkpoint: str = FALLBACK
    skip_nonfinite_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("num_steps", "checkpoint_every_n", "log_every_n", "max_to_keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")


@dataclass(frozen=True)
class RunOptions(LoopOptions):
    """Options of a training run that are no fields of its config, those of the loop included.

    `train_config_builder.build_loop_options` adds what the config says: `class_names`,
    `keep_every_n_hours`, and `num_steps` if it is None.

    Attributes:
        jit_compile: compile the training step with XLA.
        num_workers: see `training.distribution.make_strategy`.
        use_tpu: as `num_workers`.
        tpu_name: as `num_workers`.
        data_service: "grpc://host:port" of a tf.data service that reads the examples, see
            `input_pipeline.make_pipeline`; None: this process reads them.
    """

    jit_compile: bool = False
    num_workers: int = 1
    use_tpu: bool = False
    tpu_name: str | None = None
    data_service: str | None = None


@dataclass(frozen=True)
class TrainableModel:
    """A detector with its optimizer, made in the strategy's scope.

    Attributes:
        detector: built for training.
        optimizer: not built yet.
        trained: name -> trained variable.
        step_options: options of the training step.
    """

    detector: Any
    optimizer: DetectionOptimizer
    trained: Mapping[str, keras.Variable]
    step_options: StepOptions


@dataclass(frozen=True)
class TrainingResult:
    """The end of a run.

    Attributes:
        step: number of completed steps.
        checkpoint: prefix of the newest checkpoint.
        metrics: TensorBoard name -> value of the last logged block; empty if no step was needed.
        interrupted_by: number of the signal that stopped the run, or None.
        skipped_steps: steps of the run that were skipped because they were not finite.
        skipped_examples: number of times that the run skipped a corrupt example.
    """

    step: int
    checkpoint: str
    metrics: Mapping[str, float]
    interrupted_by: int | None = None
    skipped_steps: int = 0
    skipped_examples: int = 0
