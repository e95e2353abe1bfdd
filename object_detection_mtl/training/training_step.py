"""Training step: losses, gradients, update.

Shape letters: B batch of one replica, G padded ground-truth boxes, h w inputs.

The global loss is the mean over the replicas: each divides its own by their number and gradients
are summed, so a global batch gives the same update on one device and on many. Gradients are
clipped after that sum, for the same reason.

Every term of the loss and the norm of the gradient are checked in the graph, before weights
change: a step that fails leaves the weights as they were. The checks are scalars and cost little
beside the step. XLA may drop them; then the means of the logged block are checked (`trainer.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.fields import Batch
from object_detection_mtl.ops import lowering, sampler
from object_detection_mtl.ops.tensor_shapes import size
from object_detection_mtl.training import auxiliary_gradients, micro_batches, summary_names
from object_detection_mtl.training import gradients as gradient_ops
from object_detection_mtl.training.optimizers import DetectionOptimizer

_MARK = "non-finite value of "
# Parts of the total loss.
_MAIN = "main"
_AUXILIARY = "auxiliary"
_REST = "rest"
# A gradient for each trained variable; None where a loss does not reach it.
MaybeGradients = Sequence[tf.Tensor | None]
_MOVING_AVERAGES = ("moving_mean", "moving_variance")


def non_finite_term(error: Exception) -> str | None:
    """Return the term that an error of a step names; None if its cause is another."""
    match = re.search(re.escape(_MARK) + r"(\S+)", str(error))
    return match.group(1) if match else None


@dataclass(frozen=True)
class StepOptions:
    """Options for losses and gradients.

    Attributes:
        seed: seed of the run; with the step and an image's row in the global batch it is the seed
            of the image's random samples.
        clip_norm: largest norm of a gradient, 0 for none.
        clip_per_variable: `clip_norm` holds for each variable's gradient, not for all together.
        add_regularization: add the regularization loss.
        gradient_multipliers: one factor per trained variable, or empty for none.
        jit_compile: compile losses and gradients with XLA. Every shape of a batch is compiled
            separately, so inputs and ground truth should be padded to fixed sizes.
        skip_nonfinite: skip a step with a NaN or infinite loss or gradient, and report it, instead
            of raising an error.
        auxiliary_gradients: one of `auxiliary_gradients.FORMS`.
        auxiliary_warmup_start: first step with auxiliary losses.
        auxiliary_warmup_steps: steps in which their weights then rise to the configured ones.
        measure_every_n: measure the gradients of the loss terms at every n-th step; 0 for none.
        is_shared: whether a trained variable belongs to the shared features, for measuring; one
            for each.
        num_micro_batches: parts in which losses and gradients of a batch are computed, see
            `micro_batches`.
    """

    seed: int = 0
    clip_norm: float = 0.0
    clip_per_variable: bool = False
    add_regularization: bool = True
    gradient_multipliers: Sequence[float] = ()
    jit_compile: bool = False
    skip_nonfinite: bool = False
    auxiliary_gradients: str = auxiliary_gradients.SUM
    auxiliary_warmup_start: int = 0
    auxiliary_warmup_steps: int = 0
    measure_every_n: int = 0
    is_shared: Sequence[bool] = ()
    num_micro_batches: int = 1


class TrainingStep:
    """Computation of one replica; `strategy.run` calls it in a `tf.function`."""

    def __init__(
        self,
        detector: Any,
        optimizer: DetectionOptimizer,
        variables: Sequence[keras.Variable],
        options: StepOptions,
    ) -> None:
        """Prepare the step.

        Args:
            detector: built for training (`loss`, `loss_weights`, `predict`,
                `regularization_loss`).
            optimizer: one of `training.optimizers` (takes summed gradients), built for `variables`.
            variables: those to train.
            options: see `StepOptions`.
        """
        self.detector = detector
        self.optimizer = optimizer
        self.variables = list(variables)
        self.options = options
        self._averages = _trained_averages(detector)
        # The forward pass updates the averages before an error could stop the step.
        self.is_gated = options.skip_nonfinite or bool(self._averages)
        self._differentiate = self._losses_and_gradients
        if options.jit_compile:
            self._differentiate = tf.function(
                self._losses_and_gradients_for_xla, autograph=False, jit_compile=True
            )

    def __call__(
        self, batch: Mapping[str, tf.Tensor], step: tf.Tensor, *, measure: bool = False
    ) -> dict[str, tf.Tensor]:
        """Train on a batch.

        Args:
            batch: tensors with the keys of `fields.Batch` and `fields.Groundtruth`.
            step: int64 [], steps completed before this one.
            measure: also return norms and angles of the terms' gradients.

        Returns:
            TensorBoard name -> scalar: the terms with and without their weights, the
            regularization, the total and the norm of the gradient. Summed over the replicas they
            are those of the whole batch (the norm already is, and is divided to sum up). A gated
            step also returns `summary_names.NONFINITE`, 1 if nothing was applied.
        """
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        # No part of the step reads strings (the images' names), and XLA does not support them.
        numbers = {key: value for key, value in batch.items() if value.dtype != tf.string}
        averages = [tf.identity(average.value) for average in self._averages]
        ramp = self._ramp(step)
        scalars, gradients, by_term = micro_batches.mean_over_parts(
            lambda part, seed: self._differentiate(part, seed, ramp, replicas, measure),
            numbers,
            self._seed(step, numbers),
            self.options.num_micro_batches,
        )
        if measure:
            scalars |= self._measured(by_term, replicas)
        present, norm = self._clipped(gradients)
        values = {**scalars, summary_names.GRADIENT_NORM: norm}
        if self.is_gated:
            finite = self._all_finite(values)
            self._apply_if(finite, present, averages)
            state = {summary_names.NONFINITE: tf.cast(~finite, tf.float32) / replicas}
        else:
            self._apply_checked(present, values)
            state = {}
        return {**scalars, summary_names.GRADIENT_NORM: norm / replicas, **state}

    def _losses_and_gradients(
        self,
        batch: Mapping[str, tf.Tensor],
        seed: sampler.BatchSeed,
        ramp: tf.Tensor | None,
        replicas: int,
        measure: bool,
    ) -> tuple[dict[str, tf.Tensor], dict[str, MaybeGradients], dict[str, MaybeGradients]]:
        """Compute this replica's share of every term's mean, and gradients.

        Returns:
            The terms; the gradients to train with, by part of the total (one, or the main losses,
            the auxiliary losses and the regularization); with `measure` those of every term.
        """
        variables = [variable.value for variable in self.variables]
        is_sum = self.options.auxiliary_gradients == auxiliary_gradients.SUM
        with tf.GradientTape(
            persistent=measure or not is_sum, watch_accessed_variables=False
        ) as tape:
            tape.watch(variables)
            losses = self._losses(batch, seed, ramp)
            scalars = {name: value / replicas for name, value in losses.items()}
            weighted = [name for name in scalars if _is_weighted(name)]
            parts = {summary_names.TOTAL: scalars[summary_names.TOTAL]}
            if not is_sum:
                parts = _sum_by_part({name: scalars[name] for name in weighted})
        gradients = {name: tape.gradient(value, variables) for name, value in parts.items()}
        by_term = {
            name.removeprefix("Loss/"): tape.gradient(scalars[name], variables)
            for name in weighted
            if measure
        }
        return scalars, gradients, by_term

    def _losses_and_gradients_for_xla(self, *args: Any) -> Any:
        with lowering.for_xla():
            return self._losses_and_gradients(*args)

    def _losses(
        self, batch: Mapping[str, tf.Tensor], seed: sampler.BatchSeed, ramp: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Compute every term, weighted here and nowhere else, and their total."""
        predictions = self.detector.predict(
            batch[Batch.inputs], batch[Batch.true_image_shapes], batch, seed=seed, training=True
        )
        terms = self.detector.loss(predictions, batch, seed=seed, training=True)
        weights = self.detector.loss_weights
        balance = self.detector.loss_balance
        weighted = {
            summary_names.weighted(key): (
                weights[key] * loss if balance is None else balance.weigh(key, weights[key] * loss)
            )
            for key, loss in terms.items()
        }
        if ramp is not None:
            for key in terms.keys() - auxiliary_gradients.MAIN_LOSSES:
                weighted[summary_names.weighted(key)] *= ramp
        if self.options.add_regularization:
            weighted[summary_names.REGULARIZATION] = self.detector.regularization_loss()
        total = tf.add_n(list(weighted.values()))
        others = {summary_names.unweighted(key): loss for key, loss in terms.items()}
        for key, factor in balance.factors().items() if balance is not None else ():
            others[summary_names.trained_factor(key)] = factor
        return {**weighted, **others, summary_names.TOTAL: total}

    def _ramp(self, step: tf.Tensor) -> tf.Tensor | None:
        """Return the factor of the auxiliary losses; None where it is always 1."""
        start = self.options.auxiliary_warmup_start
        num_steps = self.options.auxiliary_warmup_steps
        if not start and not num_steps:
            return None
        return auxiliary_gradients.ramp(step, start, num_steps)

    def _measured(
        self, by_term: Mapping[str, MaybeGradients], replicas: int
    ) -> dict[str, tf.Tensor]:
        main = [summary_names.weighted(key) for key in auxiliary_gradients.MAIN_LOSSES]
        measured = auxiliary_gradients.measure(
            {name: _summed(gradients) for name, gradients in by_term.items()},
            self.options.is_shared or [True] * len(self.variables),
            sorted(name.removeprefix("Loss/") for name in main),
        )
        return {name: value / replicas for name, value in measured.items()}

    def _seed(self, step: tf.Tensor, batch: Mapping[str, tf.Tensor]) -> sampler.BatchSeed:
        """Return the seed of the run and the step, and the rows of this replica's images.

        The number of an example is its row in the global batch, whichever replica has it. Without
        numbers the replicas have consecutive parts of the global batch.
        """
        context = tf.distribute.get_replica_context()
        images = size(batch[Batch.inputs], 0)
        num_rows = images * context.num_replicas_in_sync
        if Batch.example_number in batch:
            rows = tf.cast(batch[Batch.example_number] % tf.cast(num_rows, tf.int64), tf.int32)
        else:
            rows = context.replica_id_in_sync_group * images + tf.range(images)
        # Seeds are unsigned and 32 bits wide in a config; the bits are kept.
        run = tf.bitcast(tf.constant(self.options.seed, tf.uint32), tf.int32)
        number = tf.cast(tf.cast(step, tf.int64) % 2**31, tf.int32)
        return sampler.BatchSeed(tf.stack([run, number]), rows, num_rows)

    def _clipped(
        self, parts: Mapping[str, MaybeGradients]
    ) -> tuple[dict[int, tf.Tensor], tf.Tensor]:
        """Return number of a variable -> its gradient, and the norm of all before clipping."""
        if summary_names.TOTAL in parts:
            summed = _summed(self._scaled(parts[summary_names.TOTAL]))
        else:
            reduced = {name: _summed(gradients) for name, gradients in parts.items()}
            combined = auxiliary_gradients.combine(
                reduced[_MAIN], reduced[_AUXILIARY], self.options.auxiliary_gradients
            )
            if _REST in reduced:
                combined = auxiliary_gradients.combine(
                    combined, reduced[_REST], auxiliary_gradients.SUM
                )
            summed = self._scaled(combined)
        present = {number: g for number, g in enumerate(summed) if g is not None}
        clipped, norm = gradient_ops.clip(
            list(present.values()),
            self.options.clip_norm,
            per_variable=self.options.clip_per_variable,
        )
        return dict(zip(present, clipped, strict=True)), norm

    def _scaled(self, gradients: MaybeGradients) -> list[tf.Tensor | None]:
        """Return dense gradients times the multipliers of the config."""
        factors = self.options.gradient_multipliers or [1.0] * len(self.variables)
        return [
            None if gradient is None else tf.convert_to_tensor(gradient) * factor
            for gradient, factor in zip(gradients, factors, strict=True)
        ]

    def _apply_checked(
        self, gradients: Mapping[int, tf.Tensor], values: Mapping[str, tf.Tensor]
    ) -> None:
        """Update the weights; raise an error in the graph, before that, for a bad value."""
        checks = [
            tf.debugging.check_numerics(value, f"{_MARK}{name} ;") for name, value in values.items()
        ]
        with tf.control_dependencies(checks):
            checked = [tf.identity(gradient) for gradient in gradients.values()]
        self.optimizer.apply(checked, [self.variables[number] for number in gradients])

    def _all_finite(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return whether the values of all replicas are finite, bool []."""
        context = tf.distribute.get_replica_context()
        finite = [tf.reduce_all(tf.math.is_finite(value)) for value in values.values()]
        bad = tf.cast(~tf.reduce_all(tf.stack(finite)), tf.float32)
        if context.num_replicas_in_sync > 1:
            bad = context.all_reduce(tf.distribute.ReduceOp.SUM, bad)
        return tf.equal(bad, 0.0)

    def _apply_if(
        self,
        finite: tf.Tensor,
        gradients: Mapping[int, tf.Tensor],
        averages: Sequence[tf.Tensor],
    ) -> None:
        """Update the weights, or keep them and put the moving averages back."""
        self.optimizer.gate = finite
        try:
            self.optimizer.apply(
                list(gradients.values()), [self.variables[number] for number in gradients]
            )
        finally:
            self.optimizer.gate = None
        for average, before in zip(self._averages, averages, strict=True):
            average.assign(tf.where(finite, average.value, before))


def _summed(gradients: MaybeGradients) -> list[tf.Tensor | None]:
    """Return gradients summed over the replicas."""
    context = tf.distribute.get_replica_context()
    present = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    if context.num_replicas_in_sync == 1 or not present:
        return list(gradients)
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    return [None if g is None else next(summed) for g in gradients]


def _is_weighted(name: str) -> bool:
    """Return whether a scalar is a part of the total loss."""
    return name.startswith("Loss/") and name != summary_names.TOTAL


def _sum_by_part(weighted: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the sums of the main and of the auxiliary losses, and the regularization."""
    main = {summary_names.weighted(key) for key in auxiliary_gradients.MAIN_LOSSES}
    parts: dict[str, list[tf.Tensor]] = {_MAIN: [], _AUXILIARY: [], _REST: []}
    for name, value in weighted.items():
        if name == summary_names.REGULARIZATION:
            parts[_REST].append(value)
        else:
            parts[_MAIN if name in main else _AUXILIARY].append(value)
    if not parts[_REST]:
        del parts[_REST]
    return {part: tf.add_n(values or [tf.constant(0.0)]) for part, values in parts.items()}


def _trained_averages(detector: Any) -> list[keras.Variable]:
    """Return the moving averages of batch norm that the forward pass updates."""
    found: dict[int, keras.Variable] = {}
    for layer in detector._flatten_layers():
        is_ours = getattr(layer, "batch_norm_trainable", False)
        if is_ours or (isinstance(layer, keras.layers.BatchNormalization) and layer.trainable):
            for name in _MOVING_AVERAGES:
                average = getattr(layer, name, None)
                if isinstance(average, keras.Variable):
                    found[id(average)] = average
    return list(found.values())
