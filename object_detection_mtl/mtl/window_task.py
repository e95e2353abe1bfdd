"""Multi-object soft labels: which classes a window of the image holds, and how much of it.

Shape letters: B batch, W padded windows of an image, P proposals, R refined proposals,
K classes without background. Boxes are normalised to the true image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions
from object_detection_mtl.mtl import auxiliary_metrics
from object_detection_mtl.mtl.auxiliary_task import (
    Comparison,
    Context,
    RefinedProposals,
    RegionHead,
    RegionReader,
    RegionShares,
    Tensors,
    mean_over_valid,
)
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops import lowering

# Windows per proposal in the refinement: the proposal itself, three on the way, the whole image.
NUM_EXPANDED = 5


class WindowTask(keras.layers.Layer):
    """A class head on given windows in training, on expanded proposals in the refinement."""

    labels = (Groundtruth.window_boxes, Groundtruth.window_classes)
    optional_labels = (Groundtruth.num_windows,)
    outputs = (Predictions.expanded_windows,)

    def __init__(
        self,
        head: RegionHead,
        *,
        num_classes: int,
        loss_weight: float = 1.0,
        chunk_size: int = 0,
        name: str = "window",
    ) -> None:
        """Args:
        head: gives K + 1 logits per region.
        num_classes: K.
        loss_weight: of the window loss.
        chunk_size: refined proposals whose expanded windows are run at a time; 0 is all, see
            `_between`.
        """
        super().__init__(name=name)
        self.head = head
        self.chunk_size = chunk_size
        self.loss_weights = {Losses.window: loss_weight}
        self.evidence_width = NUM_EXPANDED * (num_classes + 1)
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Logits of the given windows [B, W, K + 1] and of expanded proposals [B, R, 5, K + 1]."""
        reader = self.head.read(context.regions, training=context.training)
        predictions: Tensors = {}
        windows = context.groundtruth.get(Groundtruth.window_boxes)
        if windows is not None:
            predictions[Predictions.windows] = reader.at(context.to_map(windows))
        if context.refined is not None:
            predictions[Predictions.expanded_windows] = self._expanded(reader, context)
        return predictions

    def _expanded(self, reader: RegionReader, context: Context) -> tf.Tensor:
        """Nothing is run twice: the innermost window is the proposal, the outermost one image."""
        refined = context.refined
        assert refined is not None
        innermost = reader.proposals(refined.rows)
        between = self._between(reader, context, refined)
        image = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
        image = tf.tile(image, [tf.shape(refined.boxes)[0], 1, 1])
        outermost = tf.broadcast_to(reader.at(context.to_map(image)), tf.shape(innermost))
        logits = tf.concat([innermost[:, :, None], between, outermost[:, :, None]], axis=2)
        # The refinement learns what to make of the logits, not the logits.
        return tf.stop_gradient(logits)

    def _between(
        self, reader: RegionReader, context: Context, refined: RefinedProposals
    ) -> tf.Tensor:
        """Logits [B, R, 3, K + 1] of the windows between proposal and image.

        In detecting the three windows come in turn: at once their crops would take three times the
        memory of the second stage, in no less time. Training keeps more than that for its
        gradients, and other runtimes go their own way.
        """

        def run(boxes: tf.Tensor) -> tf.Tensor:
            windows = expanded_windows(boxes)[:, :, 1:-1]  # [B, r, 3, 4]
            batch, number, steps, _ = windows.shape
            batch, number = batch or tf.shape(windows)[0], number or tf.shape(windows)[1]
            logits = reader.at(context.to_map(tf.reshape(windows, [batch, number * steps, 4])))
            return tf.reshape(logits, [batch, number, steps, logits.shape[-1]])

        if self.chunk_size:
            return in_chunks(run, refined.boxes, self.chunk_size)
        if context.training or not lowering.is_for_tensorflow():
            return run(refined.boxes)
        windows = tf.unstack(expanded_windows(refined.boxes)[:, :, 1:-1], axis=2)
        return tf.stack(in_turn(lambda boxes: reader.at(context.to_map(boxes)), windows), axis=2)

    def evidence(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """The five windows' logits, innermost first: [B, R, 5 * (K + 1)]."""
        logits = predictions[Predictions.expanded_windows]
        batch, number = tf.shape(logits)[0], logits.shape[1] or tf.shape(logits)[1]
        return tf.reshape(logits, [batch, number, self.evidence_width])

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Cross-entropy against the soft labels: the mean over an image's windows, then images."""
        logits = predictions[Predictions.windows]
        count = _num_windows(groundtruth)
        exists = tf.sequence_mask(count, tf.shape(logits)[1], dtype=tf.float32)
        losses = loss_ops.softmax_cross_entropy(
            logits, groundtruth[Groundtruth.window_classes], exists
        )
        return {Losses.window: tf.reduce_mean(mean_over_valid(losses, count))}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        logits, classes = predictions[Predictions.windows], groundtruth[Groundtruth.window_classes]
        exists = tf.sequence_mask(_num_windows(groundtruth), tf.shape(logits)[1])
        return {
            Metrics.window_map: auxiliary_metrics.window_average_precision(logits, classes, exists),
            Metrics.window_kl: auxiliary_metrics.window_divergence(logits, classes, exists),
        }

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """The given windows."""
        logits = predictions[Predictions.windows]
        shares = RegionShares(
            regions=groundtruth[Groundtruth.window_boxes],
            exists=tf.sequence_mask(_num_windows(groundtruth), tf.shape(logits)[1]),
            labels=groundtruth[Groundtruth.window_classes],
            predicted=tf.nn.softmax(logits),
        )
        return {"windows: what the bright part shows": shares}

    def tf1_variables(self) -> dict[str, keras.Variable]:
        return self.head.tf1_variables()


def _num_windows(groundtruth: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """[B]; all of them where it is not said."""
    windows = groundtruth[Groundtruth.window_boxes]
    count = groundtruth.get(Groundtruth.num_windows)
    return tf.fill(tf.shape(windows)[:1], tf.shape(windows)[1]) if count is None else count


def expanded_windows(boxes: tf.Tensor) -> tf.Tensor:
    """[B, N, 4] -> [B, N, 5, 4]: each box grown by i/4 of the way to each border, i = 0 .. 4."""
    steps = tf.range(NUM_EXPANDED, dtype=tf.float32)[:, tf.newaxis] / (NUM_EXPANDED - 1)
    boxes = boxes[:, :, tf.newaxis, :]
    image = tf.constant([0.0, 0.0, 1.0, 1.0])
    return boxes + (image - boxes) * steps


def in_turn(run: Callable[[tf.Tensor], tf.Tensor], inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """run(input) of each; one waits for the other, so that only one of them is in memory.

    Unlike a loop, they stay parts of one flat graph, which can be frozen and narrowed. Only
    TensorFlow's executor minds the order.
    """
    results: list[tf.Tensor] = []
    for tensor in inputs:
        with tf.control_dependencies(results[-1:]):
            tensor = tf.identity(tensor)
        results.append(run(tensor))
    return results


def in_chunks(
    run: Callable[[tf.Tensor], tf.Tensor], boxes: tf.Tensor, chunk_size: int
) -> tf.Tensor:
    """run([B, chunk_size, 4]) -> [B, chunk_size, ...], one chunk of boxes [B, N, 4] at a time.

    The chunks come one after the other, so that only one of them is in memory.
    """
    number = boxes.shape[1] or tf.shape(boxes)[1]
    num_chunks = -(-number // chunk_size)
    boxes = tf.pad(boxes, [[0, 0], [0, num_chunks * chunk_size - number], [0, 0]])
    batch = tf.shape(boxes)[0]
    chunks = tf.transpose(tf.reshape(boxes, [batch, num_chunks, chunk_size, 4]), [1, 0, 2, 3])
    logits = tf.map_fn(run, chunks, parallel_iterations=1)  # [chunks, B, chunk_size, ...]
    order = [1, 0, *range(2, logits.shape.rank)]
    shape = tf.concat([[batch, num_chunks * chunk_size], tf.shape(logits)[3:]], axis=0)
    joined = tf.reshape(tf.transpose(logits, order), shape)[:, :number]
    static = number if isinstance(number, int) else None
    return tf.ensure_shape(joined, [None, static, *logits.shape[3:]])
