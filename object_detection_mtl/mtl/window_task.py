"""Window task: the classes in a window of the image, by area.

Shape letters: B batch, W padded windows of an image, P proposals, R refined proposals, E expanded
windows of a proposal (5 by default), K classes without background. Boxes are normalized to the true
image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions, TfExample
from object_detection_mtl.mtl import auxiliary_metrics, labels
from object_detection_mtl.mtl.auxiliary_task import (
    Comparison,
    Context,
    RefinedProposals,
    RegionComparison,
    RegionHead,
    RegionReader,
    Tensors,
    mean_over_valid,
)
from object_detection_mtl.mtl.labels import stored_labels
from object_detection_mtl.mtl.task_labels import LabelInputs, LabelSpec, StoredInputs, TaskLabels
from object_detection_mtl.ops import boxes as box_ops
from object_detection_mtl.ops import losses as loss_ops
from object_detection_mtl.ops import lowering

# Windows per proposal in the refinement: the proposal itself, three larger ones, the whole image.
NUM_EXPANDED = 5
PROPOSAL_WINDOW, IMAGE_WINDOW = 0, NUM_EXPANDED - 1
WINDOW_SOURCES = ("RANDOM", "OBJECTS")


@dataclass(frozen=True)
class WindowLabels(TaskLabels):
    """Windows and their multi-object soft labels.

    Attributes:
        num_windows: W of labels that are made.
        transform: "SQRT" or "AREA", see `labels.window_labels`.
        source: "RANDOM", see `labels.sample_windows`, or "OBJECTS", see `labels.object_windows`.
    """

    num_windows: int = 64
    transform: str = "SQRT"
    source: str = "RANDOM"

    stored = {
        **dict.fromkeys(TfExample.window_box, tf.float32),
        TfExample.window_labels: tf.string,
    }

    def specs(self, num_classes: int) -> dict[str, LabelSpec]:
        """Return the specs of windows, their number and their labels; records have any number."""
        return {
            Groundtruth.window_boxes: LabelSpec((None, 4)),
            Groundtruth.window_classes: LabelSpec((None, num_classes + 1)),
            Groundtruth.num_windows: LabelSpec((), tf.int32),
        }

    def make(self, inputs: LabelInputs) -> Tensors:
        """Return new windows; of an image without objects one counts.

        Raises:
            ValueError: an unknown source.
        """
        if self.source not in WINDOW_SOURCES:
            raise ValueError(f"source is {self.source!r}; expected one of {WINDOW_SOURCES}")
        boxes, valid = inputs.boxes, inputs.valid
        if self.source == "OBJECTS":
            windows, count = labels.object_windows(
                boxes, self.num_windows, seed=inputs.seed, valid=valid
            )
        else:
            windows = labels.sample_windows(
                boxes, inputs.image_size, self.num_windows, seed=inputs.seed, valid=valid
            )
            count = labels.count_windows(boxes, self.num_windows, valid=valid)
        return {
            Groundtruth.window_boxes: windows,
            Groundtruth.window_classes: labels.window_labels(
                inputs.boxes,
                inputs.classes,
                windows,
                inputs.num_classes,
                transform=self.transform,
            ),
            Groundtruth.num_windows: count,
        }

    def read(self, inputs: StoredInputs) -> Tensors:
        """Return the windows of a record.

        A record of the authors' COCO converter without any object has no window: num_windows is 0,
        and one row of zeros is padding.
        """
        boxes = tf.stack([inputs.features[key] for key in TfExample.window_box], axis=-1)
        number = tf.shape(boxes)[0]
        rows = stored_labels.soft_label_rows(
            inputs.features[TfExample.window_labels],
            number,
            inputs.num_classes,
            TfExample.window_labels,
            inputs.image_id,
        )
        missing = tf.maximum(0, 1 - number)
        return {
            Groundtruth.window_boxes: tf.pad(boxes, [[0, missing], [0, 0]]),
            Groundtruth.window_classes: tf.pad(rows, [[0, missing], [0, 0]]),
            Groundtruth.num_windows: number,
        }

    def flip_left_right(self, labels: Tensors) -> Tensors:
        """Return mirrored windows."""
        key = Groundtruth.window_boxes
        return {key: box_ops.flip_left_right(labels[key])}


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
        expanded: Sequence[int] = (),
        name: str = "window",
    ) -> None:
        """Initialize the task.

        Args:
            head: gives K + 1 logits per region.
            num_classes: K.
            loss_weight: weight of the window loss.
            chunk_size: refined proposals whose expanded windows are computed at a time, to bound
                memory; 0: all.
            expanded: the windows that the refiner reads, ascending numbers of `expanded_windows`;
                empty: all five.
            name: name of the layer.

        Raises:
            ValueError: other numbers.
        """
        super().__init__(name=name)
        self.head = head
        self.chunk_size = chunk_size
        if sorted({*expanded} & {*range(NUM_EXPANDED)}) != list(expanded):
            raise ValueError(
                f"mtl: refine_windows is {list(expanded)}; expected ascending numbers from 0, the "
                f"proposal, to {IMAGE_WINDOW}, the image"
            )
        self.expanded = tuple(expanded) or tuple(range(NUM_EXPANDED))
        self.loss_weights = {Losses.window: loss_weight}
        self.auxiliary_width = len(self.expanded) * (num_classes + 1)
        self.built = True

    def predict(self, context: Context) -> Tensors:
        """Return logits of given windows [B, W, K + 1] and expanded proposals [B, R, E, K + 1]."""
        reader = self.head.read(context.regions, training=context.training)
        predictions: Tensors = {}
        windows = context.groundtruth.get(Groundtruth.window_boxes)
        if windows is not None:
            predictions[Predictions.windows] = reader.at(context.to_map(windows))
        if context.refined is not None:
            predictions[Predictions.expanded_windows] = self._expanded(reader, context)
        return predictions

    def _expanded(self, reader: RegionReader, context: Context) -> tf.Tensor:
        """Return logits [B, R, E, K + 1], each distinct window computed once.

        The innermost window is the proposal, the outermost is the image for all proposals.
        """
        refined = context.refined
        assert refined is not None
        parts = []
        if PROPOSAL_WINDOW in self.expanded:
            parts.append(reader.proposals(refined.rows)[:, :, tf.newaxis])
        between = [i for i in self.expanded if i not in (PROPOSAL_WINDOW, IMAGE_WINDOW)]
        if between:
            parts.append(self._between(reader, context, refined, between))
        if IMAGE_WINDOW in self.expanded:
            batch = tf.shape(refined.boxes)[0]
            image = tf.tile(tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), [batch, 1, 1])
            logits = reader.at(context.to_map(image))[:, tf.newaxis]
            number = refined.boxes.shape[1] or tf.shape(refined.boxes)[1]
            parts.append(tf.broadcast_to(logits, [batch, number, 1, logits.shape[-1]]))
        # The refined loss trains the refiner, not these logits.
        return tf.stop_gradient(tf.concat(parts, axis=2))

    def _between(
        self,
        reader: RegionReader,
        context: Context,
        refined: RefinedProposals,
        steps: Sequence[int],
    ) -> tf.Tensor:
        """Return logits [B, R, number of steps, K + 1] of windows between proposal and image.

        In inference the windows are computed in turn: at once their crops would take up to three
        times the memory of the second stage, in no less time. Training keeps more than that for its
        gradients, and other runtimes have their own execution order.
        """

        def compute_all(boxes: tf.Tensor) -> tf.Tensor:
            windows = expanded_windows(boxes, steps)  # [B, r, steps, 4]
            batch, number = windows.shape[0], windows.shape[1]
            batch, number = batch or tf.shape(windows)[0], number or tf.shape(windows)[1]
            logits = reader.at(context.to_map(tf.reshape(windows, [batch, number * len(steps), 4])))
            return tf.reshape(logits, [batch, number, len(steps), logits.shape[-1]])

        if self.chunk_size:
            return map_in_chunks(compute_all, refined.boxes, self.chunk_size)
        if context.training or not lowering.is_for_tensorflow():
            return compute_all(refined.boxes)
        windows = tf.unstack(expanded_windows(refined.boxes, steps), axis=2)
        return tf.stack(
            map_in_turn(lambda boxes: reader.at(context.to_map(boxes)), windows), axis=2
        )

    def auxiliary_logits(self, predictions: Tensors, context: Context) -> tf.Tensor:
        """Return the windows' logits, innermost first: [B, R, E * (K + 1)]."""
        logits = predictions[Predictions.expanded_windows]
        batch, number = tf.shape(logits)[0], logits.shape[1] or tf.shape(logits)[1]
        return tf.reshape(logits, [batch, number, self.auxiliary_width])

    def loss(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return the cross-entropy with the soft labels: mean over an image's windows, then images.

        See `AuxiliaryTask.loss` for the arguments.
        """
        logits = predictions[Predictions.windows]
        count = _num_windows(groundtruth)
        exists = tf.sequence_mask(count, tf.shape(logits)[1], dtype=tf.float32)
        losses = loss_ops.softmax_cross_entropy(
            logits, groundtruth[Groundtruth.window_classes], exists
        )
        return {Losses.window: tf.reduce_mean(mean_over_valid(losses, count))}

    def metrics(self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]) -> Tensors:
        """Return the mean average precision and the divergence of the windows."""
        logits, classes = predictions[Predictions.windows], groundtruth[Groundtruth.window_classes]
        exists = tf.sequence_mask(_num_windows(groundtruth), tf.shape(logits)[1])
        return {
            Metrics.window_map: auxiliary_metrics.window_average_precision(logits, classes, exists),
            Metrics.window_kl: auxiliary_metrics.window_divergence(logits, classes, exists),
        }

    def compare(
        self, predictions: Tensors, groundtruth: Mapping[str, tf.Tensor]
    ) -> dict[str, Comparison]:
        """Return the soft labels of the given windows, labeled and predicted."""
        logits = predictions[Predictions.windows]
        comparison = RegionComparison(
            regions=groundtruth[Groundtruth.window_boxes],
            exists=tf.sequence_mask(_num_windows(groundtruth), tf.shape(logits)[1]),
            labels=groundtruth[Groundtruth.window_classes],
            predicted=tf.nn.softmax(logits),
        )
        return {"windows: classes in the bright part": comparison}

    def tf1_variables(self) -> dict[str, keras.Variable]:
        """Return name in TF1 graphs -> variable."""
        return self.head.tf1_variables()


def _num_windows(groundtruth: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Return the number of windows [B]; all of them where it is not given."""
    windows = groundtruth[Groundtruth.window_boxes]
    count = groundtruth.get(Groundtruth.num_windows)
    return tf.fill(tf.shape(windows)[:1], tf.shape(windows)[1]) if count is None else count


def expanded_windows(
    boxes: tf.Tensor, steps: Sequence[int] = tuple(range(NUM_EXPANDED))
) -> tf.Tensor:
    """Return boxes [B, N, 4] grown by step/4 of the way to each border: [B, N, len(steps), 4]."""
    parts = tf.constant(list(steps), tf.float32)[:, tf.newaxis] / (NUM_EXPANDED - 1)
    boxes = boxes[:, :, tf.newaxis, :]
    image = tf.constant([0.0, 0.0, 1.0, 1.0])
    return boxes + (image - boxes) * parts


def map_in_turn(
    function: Callable[[tf.Tensor], tf.Tensor], inputs: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Return function(input) of each, computed one after another to limit memory.

    Unlike a loop, this stays part of one flat graph, which can be frozen and cast to bfloat16. Only
    TensorFlow's executor keeps the order.
    """
    results: list[tf.Tensor] = []
    for tensor in inputs:
        with tf.control_dependencies(results[-1:]):
            tensor = tf.identity(tensor)
        results.append(function(tensor))
    return results


def map_in_chunks(
    function: Callable[[tf.Tensor], tf.Tensor], boxes: tf.Tensor, chunk_size: int
) -> tf.Tensor:
    """Return function(boxes [B, N, 4]), computed for one chunk of boxes at a time.

    Args:
        function: [B, chunk_size, 4] -> [B, chunk_size, ...].
        boxes: [B, N, 4].
        chunk_size: boxes of one chunk; only one chunk at a time is in memory.
    """
    number = boxes.shape[1] or tf.shape(boxes)[1]
    num_chunks = -(-number // chunk_size)
    boxes = tf.pad(boxes, [[0, 0], [0, num_chunks * chunk_size - number], [0, 0]])
    batch = tf.shape(boxes)[0]
    chunks = tf.transpose(tf.reshape(boxes, [batch, num_chunks, chunk_size, 4]), [1, 0, 2, 3])
    logits = tf.map_fn(function, chunks, parallel_iterations=1)  # [chunks, B, chunk_size, ...]
    order = [1, 0, *range(2, logits.shape.rank)]
    shape = tf.concat([[batch, num_chunks * chunk_size], tf.shape(logits)[3:]], axis=0)
    joined = tf.reshape(tf.transpose(logits, order), shape)[:, :number]
    static = number if isinstance(number, int) else None
    return tf.ensure_shape(joined, [None, static, *logits.shape[3:]])
