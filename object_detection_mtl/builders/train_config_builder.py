"""Build the options, the trained model and the first weights of a run from `TrainConfig`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.builders import mtl_builder, optimizer_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.keras_applications import IMAGENET
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.checkpoints.restore_plan import DETECTION, FIRST_STAGE, RestoreRequest
from object_detection_mtl.protos import train_pb2
from object_detection_mtl.training import gradients, mixed_precision
from object_detection_mtl.training.run_options import LoopOptions, RunOptions, TrainableModel
from object_detection_mtl.training.training_step import StepOptions

# Field of the authors' dialect -> scopes that it loads besides the feature extractors. Fields of
# auxiliary tasks are in `mtl_builder.TASKS`.
_RESTORE_SCOPES = {
    "restore_box_predictor": ("FirstStageBoxPredictor/", "SecondStageBoxPredictor/"),
    "restore_mtl_refine": ("MTLClassRefiner/",),
}


def build_model(
    config: train_pb2.TrainConfig,
    detector: Any,
    *,
    jit_compile: bool = False,
    bfloat16: bool = False,
) -> TrainableModel:
    """Return the detector with its optimizer; call this in the scope of the run's strategy.

    Args:
        config: resolved.
        detector: built for training.
        jit_compile: let XLA compile the step.
        bfloat16: mixed precision, on any device; `choose_bfloat16` has the config's choice.

    Raises:
        ValueError: every variable is frozen, or as `optimizer_builder.build`.
    """
    if bfloat16:
        mixed_precision.use_bfloat16(detector)
    trained = gradients.trained_variables(
        native.named_variables(detector),
        detector.trainable_variables,
        update_patterns=config.update_trainable_variables,
        freeze_patterns=config.freeze_variables,
    )
    everything = config.grad_multiplier or 1.0
    if config.divide_grad_by_batch:
        everything /= config.batch_size
    options = StepOptions(
        seed=config.seed,
        clip_norm=config.gradient_clipping_by_norm,
        clip_per_variable=config.gradient_clipping_mode == train_pb2.TrainConfig.PER_VARIABLE,
        add_regularization=config.add_regularization_loss,
        gradient_multipliers=gradients.multipliers(
            trained, everything=everything, biases=config.bias_grad_multiplier
        ),
        jit_compile=jit_compile,
        auxiliary_gradients=train_pb2.TrainConfig.AuxiliaryGradients.Name(
            config.auxiliary_gradients
        ),
        auxiliary_warmup_start=config.auxiliary_warmup_start,
        auxiliary_warmup_steps=config.auxiliary_warmup_steps,
        measure_every_n=config.log_gradient_norms_every_n,
        is_shared=[name.startswith(FIRST_STAGE) for name in trained],
        num_micro_batches=config.num_micro_batches,
    )
    optimizer = optimizer_builder.build(config.optimizer)
    optimizer.rate_multipliers = _rate_multipliers(detector, trained)
    return TrainableModel(detector, optimizer, trained, options)


def choose_bfloat16(config: train_pb2.TrainConfig, strategy: tf.distribute.Strategy) -> bool:
    """Return whether to train in mixed precision; print a line if the device is in the way.

    Args:
        config: resolved.
        strategy: devices of the run.
    """
    if not config.use_bfloat16:
        return False
    if mixed_precision.device_has_bfloat16(strategy):
        print("training in mixed precision: bfloat16 and float32", flush=True)
        return True
    print(
        "train_config.use_bfloat16 (--mixed_precision): this CPU has no bfloat16 instructions "
        "(AVX512-BF16 or AMX) and no GPU was found; training is in float32",
        flush=True,
    )
    return False


def _rate_multipliers(detector: Any, trained: Mapping[str, keras.Variable]) -> tuple[float, ...]:
    """Return the factor of each trained variable's learning rate; empty if all are 1."""
    refiner = getattr(detector, "refiner", None)
    if refiner is None or refiner.learning_rate_multiplier == 1.0:
        return ()
    of_refiner = {id(variable) for variable in refiner.trainable_variables}
    return tuple(
        refiner.learning_rate_multiplier if id(variable) in of_refiner else 1.0
        for variable in trained.values()
    )


def build_loop_options(
    config: train_pb2.TrainConfig,
    options: RunOptions | None = None,
    class_names: Mapping[int, str] | None = None,
) -> LoopOptions:
    """Return the options of the training loop.

    Args:
        config: resolved. If neither it nor the options have a number of steps, training ends when
            it is stopped.
        options: of the run; None for the defaults.
        class_names: class id -> name.

    Raises:
        ValueError: a number is out of range.
    """
    options = options or RunOptions()
    of_config = config.num_steps or None
    return dataclasses.replace(
        options,
        num_steps=of_config if options.num_steps is None else options.num_steps,
        class_names=class_names or {},
        keep_every_n_hours=config.keep_checkpoint_every_n_hours,
    )


def max_boxes(config: train_pb2.TrainConfig) -> int | None:
    """Return `max_number_of_boxes`; None if the config does not set it."""
    return config.max_number_of_boxes if config.HasField("max_number_of_boxes") else None


def build_initializer(
    config: train_pb2.TrainConfig,
    model_dir: str | os.PathLike[str],
    fresh_scopes: tuple[str, ...] = (),
) -> Callable[[Any], None]:
    """Return a function that loads `fine_tune_checkpoint`, if any, into a new run's detector.

    Args:
        config: resolved.
        model_dir: directory of the run.
        fresh_scopes: scopes that a classifier's checkpoint does not fill.

    Raises:
        ValueError: the checkpoint lies in `model_dir`.
    """
    if not config.fine_tune_checkpoint:
        return lambda detector: None
    path = os.path.expanduser(config.fine_tune_checkpoint)
    if path != IMAGENET and os.path.realpath(model_dir) in (
        os.path.realpath(path),
        os.path.realpath(output_paths.directory_of(path)),
    ):
        raise ValueError(
            f"fine_tune_checkpoint {path!r} lies in the model directory of this run, which would "
            "continue from it instead of starting with it; give another --model_dir"
        )
    request = restore_request(config, fresh_scopes)

    def initialize(detector: Any) -> None:
        restore(
            detector,
            path,
            checkpoint_type=request.checkpoint_type,
            include=request.include,
            exclude=request.exclude,
            load_what_fits=request.load_what_fits,
        )

    return initialize


def restore_request(
    config: train_pb2.TrainConfig,
    fresh_scopes: tuple[str, ...] = (),
    *,
    checkpoint_type: str | None = None,
    use_moving_averages: bool = False,
) -> RestoreRequest:
    """Return the request for the `fine_tune_checkpoint` of a config.

    Args:
        config: resolved.
        fresh_scopes: scopes that a classifier's checkpoint does not fill.
        checkpoint_type: instead of the config's.
        use_moving_averages: take the averages where there are some.
    """
    if checkpoint_type is None:
        checkpoint_type = config.fine_tune_checkpoint_type
    load_all = config.load_all_detection_checkpoint_vars and checkpoint_type == DETECTION
    include = tuple(
        scope
        for field, scopes in _RESTORE_SCOPES.items()
        if getattr(config, field) or (load_all and field == "restore_box_predictor")
        for scope in scopes
    )
    include += mtl_builder.restored_scopes(config)
    return RestoreRequest(checkpoint_type, include, fresh_scopes, use_moving_averages, load_all)
