"""Outer training loop: start or continue, train in blocks, save, stop.

Orbit's Controller runs the blocks and writes their scalars. This module adds checkpoints, progress,
signals and failures.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from object_detection_mtl import output_paths
from object_detection_mtl.checkpoints import native
from object_detection_mtl.data.data_service import DispatcherWatch
from object_detection_mtl.data.input_pipeline import ExamplePipeline
from object_detection_mtl.training import (
    distribution,
    failures,
    micro_batches,
    run_directory,
    summary_names,
)
from object_detection_mtl.training.checkpointing import RunCheckpoints
from object_detection_mtl.training.example_accounting import ExampleAccounting
from object_detection_mtl.training.failures import (
    CorruptLimitError,
    DataServiceLostError,
    NonFiniteError,
    TrainingDataError,
)
from object_detection_mtl.training.interruption import (
    EarlyStopError,
    GracefulStop,
    TrainingInterruptedError,
)
from object_detection_mtl.training.nonfinite_steps import ExplosionWarning, NonFiniteSteps
from object_detection_mtl.training.orbit_output import OrbitSummaries, silence_orbit
from object_detection_mtl.training.progress import TrainingProgress
from object_detection_mtl.training.run_options import LoopOptions, TrainableModel, TrainingResult
from object_detection_mtl.training.trainer import DetectionTrainer
from object_detection_mtl.training.training_step import TrainingStep
from object_detection_mtl.visualization.label_sheet import draw_label_sheet

# Counter in checkpoints.
SKIPPED = "skipped_nonfinite_steps"
_NO_LAST_STEP = 2**62


def run_training(
    model_dir: str | os.PathLike[str],
    *,
    strategy: tf.distribute.Strategy,
    make_model: Callable[[], TrainableModel],
    initialize: Callable[[Any], None],
    make_dataset: Callable[
        [Any, tf.distribute.InputContext, int, int], tf.data.Dataset | ExamplePipeline
    ],
    batch_size: int,
    options: LoopOptions,
    on_start: Callable[[], None] = lambda: None,
    on_checkpoint: Callable[[int, str], bool] | None = None,
    on_block: Callable[[int, Mapping[str, float]], None] = lambda step, losses: None,
) -> TrainingResult:
    """Train until `options.num_steps`, from the newest checkpoint of `model_dir` if it has one.

    Args:
        model_dir: gets checkpoints, and summaries in `train`.
        strategy: devices of the run.
        make_model: called in the strategy's scope.
        initialize: loads the first weights of a NEW run into the detector.
        make_dataset: (detector, input context, batch size of one replica, number of the first
            example) -> endless batches, or the input pipeline that has them.
        batch_size: global batch size.
        options: see `LoopOptions`.
        on_start: called when all of the above fit together, before the first step and before
            anything is written: a run that is refused leaves no trace in `model_dir`.
        on_checkpoint: called with step and prefix of a checkpoint that was written after a block;
            True ends the run.
        on_block: called with step and mean losses of each block; may raise `EarlyStopError`.

    Returns:
        The step reached, the newest checkpoint and the last metrics.

    Raises:
        NonFiniteError: a loss became NaN or infinite; the steps before are saved.
        TrainingDataError: an example cannot be used; the steps before are saved.
        WorkerLostError: another worker of the cluster ended or cannot be reached, or the dispatcher
            of the tf.data service.
        ValueError: a checkpoint of another model in `model_dir`, another training writes to it, and
            what the arguments raise.
    """
    model_dir = output_paths.without_file_scheme(os.fspath(model_dir))
    replica_batch = distribution.per_replica_batch_size(strategy, batch_size)
    run_directory.require_writable(model_dir)
    is_chief = distribution.is_chief(strategy)
    with (
        failures.lost_worker_explained(model_dir, is_cluster=distribution.is_cluster(strategy)),
        run_directory.lock_run(model_dir, is_chief=is_chief),
        GracefulStop() as stop,
    ):
        with strategy.scope():
            model = make_model()
            micro_batches.check_divisible(replica_batch, model.step_options.num_micro_batches)
            model.optimizer.build(list(model.trained.values()))
            step = orbit.utils.create_global_step()
            skipped = tf.Variable(0, dtype=tf.int64, trainable=False, name=SKIPPED)
            accounting = ExampleAccounting(
                distribution.num_input_pipelines(strategy), batch_size, strategy
            )
        counters = {SKIPPED: skipped, **accounting.counters}
        checkpoints = _checkpoints(model_dir, model, step, counters, strategy, options)
        try:
            start = _start(checkpoints, model, strategy, initialize, options.on_damaged_checkpoint)
            accounting.start(start, checkpoints.restored_counters())
            if _has_ended(model_dir, start, options.num_steps):
                return TrainingResult(
                    start, str(checkpoints.newest), {}, skipped_steps=int(skipped.numpy())
                )
            batches = distribution.RunBatches(
                functools.partial(make_dataset, model.detector), strategy, replica_batch
            )
            dataset = batches.from_examples(accounting.positions_before(start))
            accounting.log.describe, accounting.pipeline = batches.describe, batches.pipeline
            accounting.limit_corrupt(batches.corrupt_limit)
            on_start()
            checkpoints.prepare()
            checkpoints.save()
            run = _Run(
                model_dir,
                model,
                dataset,
                batches,
                step=step,
                skipped=skipped,
                strategy=strategy,
                checkpoints=checkpoints,
                accounting=accounting,
                stop=stop,
                batch_size=batch_size,
                options=options,
                on_checkpoint=on_checkpoint,
                on_block=on_block,
            )
            return run.to_end()
        finally:
            checkpoints.close()


def _checkpoints(
    model_dir: str,
    model: TrainableModel,
    step: tf.Variable,
    counters: Mapping[str, tf.Variable],
    strategy: tf.distribute.Strategy,
    options: LoopOptions,
) -> RunCheckpoints:
    return RunCheckpoints(
        model_dir,
        step=step,
        model=native.named_variables(model.detector),
        trained=model.trained,
        optimizer=model.optimizer,
        strategy=strategy,
        counters=counters,
        max_to_keep=options.max_to_keep,
        keep_every_n_hours=options.keep_every_n_hours,
    )


def _start(
    checkpoints: RunCheckpoints,
    model: TrainableModel,
    strategy: tf.distribute.Strategy,
    initialize: Callable[[Any], None],
    on_damaged: str,
) -> int:
    """Continue the run of the directory, or begin a new one; return the steps already done."""
    start = checkpoints.restore_newest(on_damaged)
    if start is not None:
        print(f"continuing at step {start} from {checkpoints.newest}", flush=True)
        return start
    with strategy.scope():
        initialize(model.detector)
    return 0


def _has_ended(model_dir: str, start: int, num_steps: int | None) -> bool:
    """Return whether a run has done its last step; print a line if so, or if it has none."""
    if num_steps is None:
        print(
            "train_config.num_steps is not set: training continues until it is stopped. Ctrl-C "
            "saves a checkpoint, and the same command continues from it",
            flush=True,
        )
        return False
    if start >= num_steps:
        print(f"nothing to do: {model_dir} is at step {start} of {num_steps}")
    return start >= num_steps


class _Run:
    """The controller of one run, with its callbacks."""

    def __init__(
        self,
        model_dir: str,
        model: TrainableModel,
        dataset: tf.data.Dataset,
        batches: distribution.RunBatches,
        *,
        step: tf.Variable,
        skipped: tf.Variable,
        strategy: tf.distribute.Strategy,
        checkpoints: RunCheckpoints,
        accounting: ExampleAccounting,
        stop: GracefulStop,
        batch_size: int,
        options: LoopOptions,
        on_checkpoint: Callable[[int, str], bool] | None,
        on_block: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        self._step = step
        self._on_block = on_block
        self._on_checkpoint = on_checkpoint
        self._nonfinite_steps = NonFiniteSteps(
            model_dir,
            options.skip_nonfinite_steps,
            skipped,
            lambda step: batches.of_step(accounting.positions_before(step)),
            worker=distribution.worker_suffix(strategy),
        )
        self._accounting = accounting
        self._explosion = ExplosionWarning()
        self._checkpoints = checkpoints
        self._stop = stop
        self._progress = TrainingProgress(
            options.num_steps, batch_size, int(step.numpy()), note=self._notes
        )
        self._watch = DispatcherWatch(batches.data_service)
        self._options = options
        self._metrics: dict[str, float] = {}
        self._labels_are_drawn = False
        self._is_cluster = distribution.is_cluster(strategy)
        is_chief = distribution.is_chief(strategy)
        self._summaries = OrbitSummaries(
            os.path.join(model_dir, "train") if is_chief else None, step
        )
        step_options = dataclasses.replace(
            model.step_options, skip_nonfinite=options.skip_nonfinite_steps > 0
        )
        training_step = TrainingStep(
            model.detector, model.optimizer, list(model.trained.values()), step_options
        )
        self._trainer = DetectionTrainer(
            dataset,
            training_step,
            strategy=strategy,
            global_step=step,
            after_step=self._after_step,
            nonfinite_steps=self._nonfinite_steps,
            accounting=accounting,
            record_images=options.record_summaries,
            stop_is_requested=lambda: stop.is_requested,
            watch=self._watch,
        )
        self._controller = orbit.Controller(
            global_step=step,
            trainer=self._trainer,
            strategy=strategy,
            train_actions=[self._after_block],
            steps_per_loop=self._block_length,
            summary_manager=self._summaries,
        )

    def to_end(self) -> TrainingResult:
        """Train until the last step or a signal, and save."""
        interrupted_by = None
        try:
            with self._watch, silence_orbit():
                self._controller.train(
                    self._options.num_steps or _NO_LAST_STEP, checkpoint_at_completion=False
                )
        except TrainingInterruptedError as interruption:
            interrupted_by = interruption.signal_number
        except EarlyStopError as stop:
            print(f"stopped early: {stop}", flush=True)
        except TrainingDataError as error:
            can_save = not self._is_cluster or isinstance(error, CorruptLimitError)
            raise TrainingDataError(f"{error}.{self._rescue(can_save)}") from error
        except DataServiceLostError as error:
            raise DataServiceLostError(f"{error}.{self._rescue(not self._is_cluster)}") from error
        except NonFiniteError as error:
            saved = f" The newest checkpoint, {self._checkpoints.newest}, is from an earlier step."
            if error.weights_are_kept:
                saved = self._rescue(not self._is_cluster) + "."
            raise self._nonfinite_steps.explained(error, saved) from error
        finally:
            self._progress.close()
        return self._finish(interrupted_by)

    def _rescue(self, can_save: bool) -> str:
        """Save the steps before a failed one; return a sentence about it."""
        if not can_save:  # Saving takes all processes, and the others did not stop here.
            return f" The newest checkpoint is {self._checkpoints.newest}"
        step, prefix = int(self._step.numpy()), self._save()
        if not step:
            return " No step was done"
        return f" The {step} steps before are saved as {prefix}; the same command continues there"

    def _save(self) -> str:
        self._accounting.share_corrupt()
        return self._checkpoints.save()

    def _finish(self, interrupted_by: int | None) -> TrainingResult:
        prefix = self._save()
        step = int(self._step.numpy())
        notes = self._notes()
        note = f"; {notes}" if notes else ""
        if interrupted_by is None:
            print(f"finished at step {step}; newest checkpoint {prefix}{note}", flush=True)
        else:
            print(
                f"stopped at step {step}{self._last_step()}, saved as {prefix}; the same command "
                f"continues from there{note}",
                flush=True,
            )
        skipped = self._nonfinite_steps.skipped
        return TrainingResult(
            step, prefix, self._metrics, interrupted_by, skipped, self._accounting.num_skipped
        )

    def _notes(self) -> str:
        """Return what was skipped so far, or ""."""
        notes = (self._nonfinite_steps.summary(), self._accounting.summary())
        return "; ".join(filter(None, notes))

    def _last_step(self) -> str:
        return "" if self._options.num_steps is None else f" of {self._options.num_steps}"

    def _block_length(self, step: int) -> int:
        """Return the steps until the next multiple of the logging or the checkpoint interval."""
        intervals = (self._options.log_every_n, self._options.checkpoint_every_n)
        return min(interval - int(step) % interval for interval in intervals)

    def _draw_labels_once(self) -> None:
        """Write sheets with boxes and the labels of the tasks, after the first block alone."""
        if not self._labels_are_drawn:
            names = self._options.class_names
            sheets = [draw_label_sheet(image, names) for image in self._trainer.labeled_images()]
            self._summaries.write_summaries(
                {
                    f"{summary_names.INPUT_LABELS}_{number}": np.asarray(sheet)[np.newaxis]
                    for number, sheet in enumerate(sheets)
                }
            )
        self._labels_are_drawn = True

    def _after_step(self, step: int, loss: Callable[[], float]) -> None:
        self._progress.step_done(step, loss)
        if self._is_cluster:
            self._stop.check_cluster(self._trainer.num_stop_requests)
        else:
            self._stop.check()

    def _after_block(self, output: Mapping[str, float]) -> None:
        self._metrics = {**self._metrics, **output}
        images = self._trainer.images()
        if images is not None:
            self._summaries.write_summaries({summary_names.INPUT_IMAGES: images})
            self._draw_labels_once()
        step = int(self._step.numpy())
        if summary_names.TOTAL in output:  # It is missing if every step was skipped.
            wait = output.get(summary_names.INPUT_WAIT, 0.0)
            self._progress.block_done(step, output[summary_names.TOTAL], wait)
            self._explosion.check(step, output[summary_names.TOTAL])
        if step % self._options.checkpoint_every_n == 0:
            self._at_checkpoint(step, self._save())
        self._on_block(step, output)

    def _at_checkpoint(self, step: int, prefix: str) -> None:
        """Evaluate a new checkpoint if the run is to, and stop if it no longer improves."""
        if self._on_checkpoint is None:
            return
        with self._progress.pause():
            improves = not self._on_checkpoint(step, prefix)
        if not improves:
            raise EarlyStopError("the metric of the best checkpoint no longer improves")
