"""Auxiliary task: the interface between one task and the detector.

A detector has a tuple of tasks and treats all of them alike. Training, evaluation and export
read predictions, losses and weights by their keys. The labels of a task in the input pipeline are a
`task_labels.TaskLabels`.

Shape letters: B batch, fh fw C the shared (stage-1) feature map, P proposals, R proposals that are
refined, N other regions, S side of a map, K classes without background. Boxes are normalized to the
true image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import keras
import tensorflow as tf

Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class RefinedProposals:
    """The proposals whose class logits are refined.

    Attributes:
        boxes: [B, R, 4].
        rows: [B, R] int32, which of the P proposals they are; None if all of them.
    """

    boxes: tf.Tensor
    rows: tf.Tensor | None = None

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """Return the rows [B, R, ...] of a tensor [B, P, ...] with one row per proposal."""
        return values if self.rows is None else tf.gather(values, self.rows, batch_dims=1)


@dataclass(frozen=True)
class Context:
    """Inputs of `predict`.

    Attributes:
        features: the shared feature map [B, fh, fw, C].
        regions: inputs of the detector's second stage, for heads with the same inputs.
        proposals: [B, P, 4].
        num_proposals: [B] int32; the rest of P is padding.
        to_map: boxes [B, N, 4] -> the same relative to the feature map, which covers the padding.
        groundtruth: `fields.Groundtruth`; empty in inference.
        training: whether dropout and the like are on.
        refined: the proposals to refine; None without refinement.
    """

    features: tf.Tensor
    regions: Any
    proposals: tf.Tensor
    num_proposals: tf.Tensor
    to_map: Callable[[tf.Tensor], tf.Tensor]
    groundtruth: Mapping[str, tf.Tensor]
    training: bool
    refined: RefinedProposals | None = None


class RegionComparison(NamedTuple):
    """Soft labels over the classes, background first, of regions of the image."""

    regions: tf.Tensor  # [B, N, 4], normalized to the true image
    exists: tf.Tensor  # [B, N] bool
    labels: tf.Tensor  # [B, N, K + 1]
    predicted: tf.Tensor  # [B, N, K + 1]; all zero where nothing was predicted


class MapComparison(NamedTuple):
    """Numbers from 0 to 1 that cover the true image."""

    labels: tf.Tensor  # [B, S, S]
    predicted: tf.Tensor  # [B, S, S]


Comparison: TypeAlias = RegionComparison | MapComparison


class AuxiliaryTask(Protocol):
    """One task. An implementation is a `keras.layers.Layer`, so that its weights are found.

    Attributes:
        name: name of the layer, unique among the tasks.
        labels: keys of the ground truth that `loss` needs.
        optional_labels: keys of the ground truth that `loss` reads where they are present.
        loss_weights: key of a loss -> its weight in the total.
        outputs: keys of the predictions that an export can serve.
        auxiliary_width: number of values per proposal in `auxiliary_logits`; 0: none.
    """

    name: str
    labels: tuple[str, ...]
    optional_labels: tuple[str, ...]
    loss_weights: Mapping[str, float]
    outputs: tuple[str, ...]
    auxiliary_width: int

    def predict(self, context: Context) -> Tensors:
        """Return predictions by key, each [B, ...]."""

    def auxiliary_logits(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """Return the inputs of the refiner from `predictions`: [B, R, auxiliary_width]."""

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return unweighted scalars by key, means over the images of the batch.

        Args:
            predictions: all of the detector's.
            groundtruth: `fields.Groundtruth`, with the detector's `proposal_matches` and
                `proposal_weights`.
        """

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return name in reports, "mtl/...", -> [2]: a sum and a count, both added over batches.

        See `loss` for the arguments.
        """

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Return caption -> predictions beside their labels, for the figures of an evaluation.

        See `loss` for the arguments.
        """

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs and in this package's checkpoints -> variable."""


class RegionReader(Protocol):
    """A head bound to a batch's feature map, which computes logits of regions."""

    def proposals(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Return logits [B, P, K + 1] of the proposals, or of those in the rows [B, R]."""

    def at(self, boxes: tf.Tensor) -> tf.Tensor:
        """Return logits [B, N, K + 1] of boxes [B, N, 4] relative to the feature map."""


class RegionHead(Protocol):
    """Class logits of regions, computed as in the detector's second stage."""

    def read(self, regions: Any, *, training: bool) -> RegionReader:
        """Return a reader of `Context.regions`."""

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable, as `AuxiliaryTask.tf1_variables`."""


def mean_over_valid(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Return the mean of the first count [B] rows of [B, N] or [B, N, D]; 0 where count is 0."""
    valid = tf.sequence_mask(count, tf.shape(values)[1])
    valid = tf.reshape(valid, tf.concat([tf.shape(valid), [1] * (values.shape.rank - 2)], axis=0))
    total = tf.reduce_sum(tf.where(valid, values, 0.0), axis=1)
    divisor = tf.cast(tf.maximum(count, 1), values.dtype)
    return total / tf.reshape(divisor, [-1] + [1] * (values.shape.rank - 2))
