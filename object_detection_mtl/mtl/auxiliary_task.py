"""What an auxiliary task is to a detector: one object that predicts and has a loss.

A detector is given a tuple of tasks and loops over them; it knows none by name. Nor do training,
evaluation and export, which see predictions, losses and weights by their keys.

Shape letters: B batch, fh fw C the shared (stage-1) feature map, P proposals, R proposals that are
refined, K classes without background. Boxes are normalised to the true image.
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
    """The proposals that the refinement wants evidence on.

    Attributes:
        boxes: [B, R, 4].
        rows: [B, R] int32, which of the P proposals they are; None when they are all of them.
    """

    boxes: tf.Tensor
    rows: tf.Tensor | None = None

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """Rows [B, R, ...] of a tensor [B, P, ...] with a row per proposal."""
        return values if self.rows is None else tf.gather(values, self.rows, batch_dims=1)


@dataclass(frozen=True)
class Context:
    """What a task may read while it predicts.

    Attributes:
        features: the shared feature map [B, fh, fw, C].
        regions: what the detector's second stage read of it, for heads that read the same.
        proposals: [B, P, 4].
        num_proposals: [B] int32; the rest of P is padding.
        to_map: boxes [B, N, 4] -> the same relative to the feature map, which covers the padding.
        groundtruth: `fields.Groundtruth`; empty in detecting.
        training: whether dropout and the like are on.
        refined: what the refinement asks about; None without refinement.
    """

    features: tf.Tensor
    regions: Any
    proposals: tf.Tensor
    num_proposals: tf.Tensor
    to_map: Callable[[tf.Tensor], tf.Tensor]
    groundtruth: Mapping[str, tf.Tensor]
    training: bool
    refined: RefinedProposals | None = None


class RegionShares(NamedTuple):
    """Shares of the classes, background first, in regions of the image."""

    regions: tf.Tensor  # [B, R, 4], normalised to the true image
    exists: tf.Tensor  # [B, R] bool
    labels: tf.Tensor  # [B, R, K + 1]
    predicted: tf.Tensor  # [B, R, K + 1]; all zero where nothing was predicted


class Maps(NamedTuple):
    """Numbers from 0 to 1 that cover the true image."""

    labels: tf.Tensor  # [B, S, S]
    predicted: tf.Tensor  # [B, S, S]


Comparison: TypeAlias = RegionShares | Maps


class AuxiliaryTask(Protocol):
    """One task. An implementation is a `keras.layers.Layer`, so that its weights are found.

    Attributes:
        labels: keys of the ground truth that `loss` needs.
        optional_labels: keys of the ground truth that `loss` reads where they are present.
        loss_weights: key of a loss -> its weight in the total.
        outputs: keys of the predictions that an export can serve.
        evidence_width: values per proposal that `evidence` gives; 0: the task has nothing to say
            in the refinement.
    """

    labels: tuple[str, ...]
    optional_labels: tuple[str, ...]
    loss_weights: Mapping[str, float]
    outputs: tuple[str, ...]
    evidence_width: int

    def predict(self, context: Context) -> Tensors:
        """Predictions by key, each [B, ...]."""

    def evidence(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """What `predictions` say about the refined proposals: [B, R, evidence_width]."""

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Unweighted scalars, means over the images of the batch.

        Args:
            predictions: all of the detector's.
            groundtruth: `fields.Groundtruth`, with the detector's `proposal_matches` and
                `proposal_weights`.
        """

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Name in reports -> [2]: a sum and what to divide it by, both to add up over batches.

        Args: as in `loss`.
        """

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Caption -> predictions next to their labels, for the pictures of an evaluation.

        Args: as in `loss`.
        """

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Name in TF1 graphs and in this package's checkpoints -> variable."""


class RegionReader(Protocol):
    """A head that has read a batch's feature map and can be asked about its regions."""

    def proposals(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """Logits [B, P, K + 1] of the detector's proposals, or of those in the rows [B, R]."""

    def at(self, boxes: tf.Tensor) -> tf.Tensor:
        """Logits [B, N, K + 1] of boxes [B, N, 4] relative to the feature map."""


class RegionHead(Protocol):
    """Class logits of regions, made the way the detector's second stage makes its own."""

    def read(self, regions: Any, *, training: bool) -> RegionReader:
        """A reader of what the second stage read (`Context.regions`)."""

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """As `AuxiliaryTask.tf1_variables`."""


def mean_over_valid(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Mean of the first count [B] rows of [B, N] or [B, N, D]; 0 where there is none."""
    valid = tf.sequence_mask(count, tf.shape(values)[1])
    valid = tf.reshape(valid, tf.concat([tf.shape(valid), [1] * (values.shape.rank - 2)], axis=0))
    total = tf.reduce_sum(tf.where(valid, values, 0.0), axis=1)
    divisor = tf.cast(tf.maximum(count, 1), values.dtype)
    return total / tf.reshape(divisor, [-1] + [1] * (values.shape.rank - 2))
