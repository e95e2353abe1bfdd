"""Inner training loop for Orbit: blocks of steps and their mean losses."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from object_detection_mtl.data import graph_errors
from object_detection_mtl.data.data_service import DispatcherWatch
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.training import (
    distribution,
    example_accounting,
    failures,
    summary_names,
)
from object_detection_mtl.training.example_accounting import ExampleAccounting
from object_detection_mtl.training.failures import NonFiniteError
from object_detection_mtl.training.nonfinite_steps import NonFiniteSteps
from object_detection_mtl.training.training_step import TrainingStep, non_finite_term
from object_detection_mtl.visualization.label_sheet import LabeledImage

MAX_IMAGES = 3
MAX_WINDOWS = 12  # drawn of an image
# Of a batch; those that it has are kept for the images.
_DRAWN = (
    Batch.inputs,
    Batch.true_image_shapes,
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.num_boxes,
    Groundtruth.closeness,
    Groundtruth.window_boxes,
    Groundtruth.window_classes,
    Groundtruth.num_windows,
    Groundtruth.edgemask,
)

_STOP = "stop"  # name of a count of the step

# (steps done so far, a function that reads the step's total loss)
AfterStep = Callable[[int, Callable[[], float]], None]


class DetectionTrainer(orbit.StandardTrainer):
    """Runner of blocks of training steps.

    Each step of a block is one call of a compiled function, not an iteration inside TensorFlow: the
    call costs little beside a detector's step, and between two steps Python shows progress and
    handles signals.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        training_step: TrainingStep,
        *,
        strategy: tf.distribute.Strategy,
        global_step: tf.Variable,
        after_step: AfterStep,
        nonfinite_steps: NonFiniteSteps,
        accounting: ExampleAccounting,
        record_images: bool = False,
        stop_is_requested: Callable[[], bool] = bool,
        watch: DispatcherWatch | None = None,
    ) -> None:
        """Prepare the loop.

        Args:
            dataset: distributed batches, endless.
            training_step: the computation of a replica.
            strategy: strategy of the run.
            global_step: counts the steps done.
            after_step: called between steps.
            nonfinite_steps: skips steps that are not finite, up to a number.
            accounting: counts the examples.
            record_images: keep the first images of each block's last batch.
            stop_is_requested: whether this process is to stop, for `num_stop_requests`.
            watch: on the dispatcher of a tf.data service, if one reads the dataset.
        """
        super().__init__(dataset)
        self._training_step = training_step
        self._strategy = strategy
        self._global_step = global_step
        self._after_step = after_step
        self._nonfinite_steps = nonfinite_steps
        self._accounting = accounting
        self._counts: dict[str, tf.Tensor] = {}
        self._stop_is_requested = stop_is_requested
        self._stop_requests: list[tf.Tensor] = []
        self._watch = watch or DispatcherWatch(None)
        self._record_images = record_images
        # The step is written in graph terms; AutoGraph's rewriting would only take time.
        self._compiled_step = tf.function(self._distributed_step, autograph=False)
        self._scalars: list[dict[str, tf.Tensor]] = []
        # Seconds that steps waited for their batch, and the seconds of these steps. The first step
        # of a run is ignored: it compiles.
        self._waits: list[tf.Tensor] = []
        self._seconds = 0.0
        self._is_compiled = False
        self._first: dict[str, tf.Tensor] = {}

    @property
    def trace_count(self) -> int:
        """Number of times that the step was compiled; 1 for any image sizes."""
        return self._compiled_step.experimental_get_tracing_count()

    @property
    def num_stop_requests(self) -> int:
        """Replicas of a cluster whose process was to stop before the second to last step.

        It is the same in all processes. The value of the last step would have to be waited for.
        """
        return int(self._stop_requests[-2]) if len(self._stop_requests) > 1 else 0

    def train_loop_begin(self) -> None:
        """Reset the scalars of the block."""
        self._scalars, self._waits, self._seconds = [], [], 0.0

    def create_train_loop_fn(self) -> Callable[[Any, tf.Tensor], None]:
        """Return the block as a Python loop with a callback between two steps."""

        def block(iterator: Any, num_steps: tf.Tensor) -> None:
            first = int(self._global_step.numpy())
            last = first + int(num_steps)
            for step in range(first, last):
                start = time.monotonic()
                scalars = self._guarded_step(iterator, step, is_last=step == last - 1)
                if self._is_applied(scalars, step):
                    self._scalars.append(scalars)
                self._seconds += time.monotonic() - start
                if not self._is_compiled:
                    self._waits, self._seconds, self._is_compiled = [], 0.0, True
                self._accounting.record(step + 1, self._counts)
                self._after_step(step + 1, functools.partial(float, scalars[summary_names.TOTAL]))

        return block

    def train_step(self, iterator: Any) -> None:
        """Run one step, for Orbit's other loops."""
        self._guarded_step(iterator, int(self._global_step.numpy()), is_last=False)

    def train_loop_end(self) -> dict[str, float]:
        """Return means over the steps of the block, and the learning rate of the next step.

        Raises:
            NonFiniteError: a mean is not finite (compilers may drop the checks inside a step).
        """
        step = int(self._global_step.numpy())
        output: dict[str, float] = {}
        for name in dict.fromkeys(name for scalars in self._scalars for name in scalars):
            values = [float(scalars[name]) for scalars in self._scalars if name in scalars]
            output[name] = float(np.mean(values))
            if not np.isfinite(output[name]):
                raise NonFiniteError(name, step - 1)
        if self._waits:
            waited = sum(map(float, self._waits))
            output[summary_names.INPUT_WAIT] = min(waited / max(self._seconds, 1e-9), 1.0)
        output[summary_names.LEARNING_RATE] = float(self._training_step.optimizer.learning_rate)
        if self._nonfinite_steps.allowed:
            output[summary_names.SKIPPED_STEPS] = float(self._nonfinite_steps.skipped)
        self._accounting.share_corrupt()
        self._accounting.check_limit()
        if self._accounting.num_skipped:
            output[summary_names.SKIPPED_EXAMPLES] = float(self._accounting.num_skipped)
        return output

    def images(self) -> np.ndarray | None:
        """Return the first images [B, h, w, 3], 0..1, of the block's last batch, if recorded."""
        if not self._first:
            return None
        return _displayable(self._first[Batch.inputs].numpy())

    def labeled_images(self) -> list[LabeledImage]:
        """Return the images of `images` with boxes and the labels of the tasks, without padding."""
        images, values = self.images(), {k: v.numpy() for k, v in self._first.items()}
        if images is None or Groundtruth.num_boxes not in values:
            return []
        return [
            _labeled(image, {k: v[i] for k, v in values.items()}) for i, image in enumerate(images)
        ]

    def _guarded_step(self, iterator: Any, step: int, *, is_last: bool) -> dict[str, tf.Tensor]:
        """Run a step; explain its failures."""
        wants_images = tf.constant(is_last and self._record_images)
        every = self._training_step.options.measure_every_n
        measure = every > 0 and step % every == 0
        try:
            stop = tf.constant(int(self._stop_is_requested()), tf.int64)
            with self._watch.cancels():
                scalars, first, counts, waited = self._compiled_step(
                    iterator, wants_images, measure, stop
                )
        except tf.errors.CancelledError as error:
            if not self._watch.problem:
                raise
            self._uncount(step)
            raise failures.DataServiceLostError(self._watch.problem) from error
        except graph_errors.EXPLAINED as error:
            term = non_finite_term(error)
            if term is not None:
                self._uncount(step)
                raise NonFiniteError(term, step, weights_are_kept=True) from error
            text = f"training step {step + 1} failed: {graph_errors.explain(error)}"
            if not failures.is_from_data(error):
                raise ValueError(text) from error
            self._uncount(step)
            raise failures.TrainingDataError(text) from error
        except (StopIteration, tf.errors.OutOfRangeError) as error:
            raise ValueError(
                f"the training data ended in step {step + 1}; the records hold no example"
            ) from error
        if _STOP in counts:
            self._stop_requests = [*self._stop_requests[-1:], counts.pop(_STOP)]
        self._counts = counts
        self._waits.append(waited)
        if is_last and self._record_images:
            self._first = first
        return scalars

    def _is_applied(self, scalars: dict[str, tf.Tensor], step: int) -> bool:
        """Return whether a step was applied; one that was not is skipped, or ends the run.

        Raises:
            NonFiniteError: no more steps may be skipped.
        """
        if float(scalars.pop(summary_names.NONFINITE, 0.0)) == 0.0:
            return True
        term = next(name for name, value in scalars.items() if not np.isfinite(float(value)))
        if self._nonfinite_steps.may_skip():
            self._nonfinite_steps.skip(step, term)
            return False
        self._uncount(step)
        raise NonFiniteError(term, step, weights_are_kept=True)

    def _uncount(self, step: int) -> None:
        """Decrement the step counter for a step that changed no weights."""
        self._global_step.assign(step)
        self._training_step.optimizer.iterations.assign(step)

    def _distributed_step(
        self, iterator: Any, wants_images: tf.Tensor, measure: bool, stop: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor]:
        batch, waited = distribution.timed_next(iterator)
        # The number of skipped examples differs, and the step may be compiled for every shape.
        used = {key: value for key, value in batch.items() if key != Batch.skipped}
        scalars = self._strategy.run(
            self._training_step, args=(used, self._global_step), kwargs={"measure": measure}
        )
        self._global_step.assign_add(1)
        sums = {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in scalars.items()
        }
        number = tf.where(wants_images, MAX_IMAGES, 0)
        first = {
            key: self._strategy.experimental_local_results(batch[key])[0][:number]
            for key in _DRAWN
            if key in batch
        }
        counts = example_accounting.step_counts(
            self._strategy, batch, self._accounting.num_pipelines, self._accounting.pipeline
        )
        if self._accounting.num_pipelines > 1:
            flags = self._strategy.run(tf.identity, args=(stop,))
            counts[_STOP] = self._strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None)
        return sums, first, counts, waited


def _displayable(inputs: np.ndarray) -> np.ndarray:
    """Return normalized inputs [B, h, w, 3], each image stretched to 0..1."""
    low = inputs.min(axis=(1, 2, 3), keepdims=True)
    high = inputs.max(axis=(1, 2, 3), keepdims=True)
    return (inputs - low) / np.maximum(high - low, 1e-6)


def _labeled(image: np.ndarray, values: Mapping[str, np.ndarray]) -> LabeledImage:
    """Return an image [h, w, 3], 0..1, with its labels; `values` are those of one image."""
    height, width = values[Batch.true_image_shapes][:2]
    count = int(values[Groundtruth.num_boxes])
    closeness = values.get(Groundtruth.closeness)
    windows, window_labels = (
        values.get(key) for key in (Groundtruth.window_boxes, Groundtruth.window_classes)
    )
    number = int(values.get(Groundtruth.num_windows, MAX_WINDOWS))
    return LabeledImage(
        name="training image",
        image=np.round(255 * image[:height, :width]).astype(np.uint8),
        boxes=values[Groundtruth.boxes][:count],
        classes=values[Groundtruth.classes][:count],
        closeness=None if closeness is None else closeness[:count],
        windows=None if windows is None else windows[: min(number, MAX_WINDOWS)],
        window_labels=None if window_labels is None else window_labels[: min(number, MAX_WINDOWS)],
        edgemask=values.get(Groundtruth.edgemask),
    )
