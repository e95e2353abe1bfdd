"""One step of training: batch -> losses -> gradients -> new weights.

Shape letters: B batch of one replica, G padded ground-truth boxes, h w inputs.

The global loss is the mean over the replicas: each divides its own by their number and gradients
are summed, so a global batch gives the same update on one device and on many. Gradients are
clipped after that sum, for the same reason.

Every term of the loss and the norm of the gradient are checked in the graph, before weights
change: a step that fails leaves the weights as they were. The checks are scalars and cost nothing
beside the step. Compilers that drop them (XLA) leave the second net, which reads the
logged block (`trainer.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.ops import lowering
from object_detection_mtl.training import gradients as gradient_ops
from object_detection_mtl.training import summary_names
from object_detection_mtl.training.optimizers import DetectionOptimizer

_MARK = "non-finite value of "


class NonFiniteError(ArithmeticError):
    """A loss term or the gradient became NaN or infinite.

    Attributes:
        term: its name in TensorBoard.
        step: number of steps that were completed before.
    """

    def __init__(self, term: str, step: int, advice: str = "") -> None:
        super().__init__(
            f"{term} became NaN or infinite in training step {step + 1}. Usual causes: the "
            "learning rate is too high, gradient_clipping_by_norm is not set, boxes of no size, "
            f"weights that do not fit.{advice}"
        )
        self.term = term
        self.step = step


def non_finite_term(error: Exception) -> str | None:
    """The term that an error of a step is about; None if it is about something else."""
    match = re.search(re.escape(_MARK) + r"(\S+)", str(error))
    return match.group(1) if match else None


@dataclass(frozen=True)
class StepOptions:
    """How a step treats losses and gradients.

    Attributes:
        seed: of all random samples; the step number is the other half of every sample's seed.
        clip_norm: largest norm of a gradient, 0 for none.
        clip_per_variable: `clip_norm` holds for each variable's gradient, not for all together.
        add_regularization: train on the regularisers too.
        gradient_multipliers: one factor per trained variable, or empty for none.
        jit_compile: let XLA compile losses and gradients. It compiles anew for every shape of a
            batch, so inputs and ground truth want to be padded to fixed sizes.
    """

    seed: int = 0
    clip_norm: float = 0.0
    clip_per_variable: bool = False
    add_regularization: bool = True
    gradient_multipliers: Sequence[float] = ()
    jit_compile: bool = False


class TrainingStep:
    """The computation of one replica, to be called by `strategy.run` in a `tf.function`."""

    def __init__(
        self,
        detector: Any,
        optimizer: DetectionOptimizer,
        variables: Sequence[keras.Variable],
        options: StepOptions,
    ) -> None:
        """Args:
        detector: built for training (`loss`, `loss_weights`, `predict`, `regularization_loss`).
        optimizer: of `training.optimizers` (takes summed gradients), built for `variables`.
        variables: those to train.
        options: see `StepOptions`.
        """
        self.detector = detector
        self.optimizer = optimizer
        self.variables = list(variables)
        self.options = options
        self._differentiate = self._losses_and_gradients
        if options.jit_compile:
            self._differentiate = tf.function(
                self._losses_and_gradients_for_xla, autograph=False, jit_compile=True
            )

    def __call__(self, batch: Mapping[str, tf.Tensor], step: tf.Tensor) -> dict[str, tf.Tensor]:
        """Trains on a batch.

        Args:
            batch: of `fields.Batch` and `fields.Groundtruth`.
            step: int64 [], steps completed before this one.

        Returns:
            TensorBoard name -> scalar: the terms with and without their weights, the
            regularisation, the total and the norm of the gradient. Summed over the replicas they
            are those of the whole batch (the norm already is, and is divided to sum up).
        """
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        # No part of the step reads strings (the images' names), and XLA has none.
        numbers = {key: value for key, value in batch.items() if value.dtype != tf.string}
        losses, gradients = self._differentiate(numbers, self._seed(step), replicas)
        scalars = dict(losses)
        scalars[summary_names.GRADIENT_NORM] = self._apply(gradients, scalars) / replicas
        return scalars

    def _losses_and_gradients(
        self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor, replicas: int
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        """Every term as this replica's share of the mean, and the gradients of their total."""
        variables = [variable.value for variable in self.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            scalars = {name: value / replicas for name, value in self._losses(batch, seed).items()}
            total = scalars[summary_names.TOTAL]
        return scalars, tape.gradient(total, variables)

    def _losses_and_gradients_for_xla(
        self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor, replicas: int
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        with lowering.for_xla():
            return self._losses_and_gradients(batch, seed, replicas)

    def _losses(self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every term, weighted here and nowhere else, and their total."""
        predictions = self.detector.predict(
            batch[Batch.inputs], batch[Batch.true_image_shapes], batch, seed=seed
        )
        terms = self.detector.loss(predictions, batch, seed=seed)
        weights = self.detector.loss_weights
        weighted = {summary_names.weighted(key): weights[key] * loss for key, loss in terms.items()}
        if self.options.add_regularization:
            weighted[summary_names.REGULARIZATION] = self.detector.regularization_loss()
        total = tf.add_n(list(weighted.values()))
        unweighted = {summary_names.unweighted(key): loss for key, loss in terms.items()}
        return {**weighted, **unweighted, summary_names.TOTAL: total}

    def _seed(self, step: tf.Tensor) -> tf.Tensor:
        """int32 [2]: (seed of the run, number of this replica's step in the run)."""
        context = tf.distribute.get_replica_context()
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        number = tf.cast(step, tf.int64) * context.num_replicas_in_sync + replica
        # Seeds are unsigned and 32 bits wide in a config; the bits are what counts.
        run = tf.bitcast(tf.constant(self.options.seed, tf.uint32), tf.int32)
        return tf.stack([run, tf.cast(number % 2**31, tf.int32)])

    def _apply(
        self, gradients: Sequence[tf.Tensor | None], scalars: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Updates the weights; returns the norm of the gradient before clipping."""
        context = tf.distribute.get_replica_context()
        factors = self.options.gradient_multipliers or [1.0] * len(self.variables)
        present = [
            (variable, tf.convert_to_tensor(gradient) * factor)
            for variable, gradient, factor in zip(self.variables, gradients, factors, strict=True)
            if gradient is not None
        ]
        variables = [variable for variable, _ in present]
        summed = [gradient for _, gradient in present]
        if context.num_replicas_in_sync > 1:
            summed = context.all_reduce(tf.distribute.ReduceOp.SUM, summed)
        clipped, norm = gradient_ops.clip(
            summed, self.options.clip_norm, per_variable=self.options.clip_per_variable
        )
        checks = [
            tf.debugging.check_numerics(value, f"{_MARK}{name} ;")
            for name, value in {**scalars, summary_names.GRADIENT_NORM: norm}.items()
        ]
        with tf.control_dependencies(checks):
            checked = [tf.identity(gradient) for gradient in clipped]
        self.optimizer.apply(checked, variables)
        return norm
