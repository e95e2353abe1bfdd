"""Inputs and targets of the refiner, collected from a trained detector.

Shape letters: B batch, P proposals, N collected proposals, K classes without background, D inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Batch, Groundtruth, Predictions
from object_detection_mtl.models import auxiliary_stage, coordinate_frames
from object_detection_mtl.ops import boxes as box_ops

MAIN = "main"
_KEYS = (
    Batch.inputs,
    Batch.true_image_shapes,
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.num_boxes,
    Groundtruth.weights,
)
# Largest move of a jittered proposal's center, and largest factor on its sides.
JITTER_SHIFT, JITTER_SCALE = 0.1, 1.2
_IMAGE = "image"
_CLASSES = "classes"
_REFINED = "refined"


@dataclass(frozen=True)
class RefinerInputs:
    """Proposals with what the refiner reads and what it should say.

    Attributes:
        groups: name of a group of inputs (`MAIN`, then the tasks) -> [N, width], in the order of
            the refiner's inputs.
        refined: logits [N, K + 1] that the detector's refiner gives.
        classes: [N] int, 0 for background.
        images: [N] number of the image.
    """

    groups: dict[str, np.ndarray]
    refined: np.ndarray
    classes: np.ndarray
    images: np.ndarray

    @property
    def main(self) -> np.ndarray:
        """Main class logits [N, K + 1]."""
        return self.groups[MAIN]

    def inputs(self, names: tuple[str, ...] = ()) -> np.ndarray:
        """Return the inputs [N, D] of some groups; of all without names."""
        return np.concatenate([self.groups[name] for name in names or self.groups], axis=1)

    def of_rows(self, rows: np.ndarray) -> RefinerInputs:
        """Return the rows that a mask [N] selects."""
        return RefinerInputs(
            {name: values[rows] for name, values in self.groups.items()},
            self.refined[rows],
            self.classes[rows],
            self.images[rows],
        )


def collect_refiner_inputs(
    detector: Any,
    dataset: tf.data.Dataset,
    *,
    num_images: int | None = None,
    jitter: int = 0,
    seed: int = 0,
) -> RefinerInputs:
    """Run a detector on a dataset and return what its refiner reads.

    The proposals are those of detection: all that remain after suppression, not the balanced
    sample of training. With `refine_top_k` they are the refined ones. Proposals of objects that do
    not count in training (weight 0) are dropped.

    Args:
        detector: built for inference, with a refiner.
        dataset: evaluation dataset.
        num_images: number of images to read; None for all.
        jitter: number of copies of all proposals, moved and scaled at random, to add.
        seed: seed of the jitter.

    Raises:
        ValueError: the detector has no refiner, or the dataset no image.
    """
    if detector.refiner is None:
        raise ValueError("the detector has no refiner: mtl.refine is off in its config")
    top_k, detector.refiner.top_k = detector.refiner.top_k, 0
    try:
        step = _make_step(detector, {key: dataset.element_spec[key] for key in _KEYS}, top_k)
        parts: list[dict[str, np.ndarray]] = []
        first = 0
        for number, batch in enumerate(dataset):
            given = {key: batch[key] for key in _KEYS}
            limit = given[Batch.inputs].shape[0] if num_images is None else num_images - first
            if limit <= 0:
                break
            for copy in range(1 + jitter):
                found = step(given, tf.constant([seed, number * jitter + copy]), copy > 0)
                parts.append(_valid_rows(found, first, limit))
            first += int(given[Batch.inputs].shape[0])
    finally:
        detector.refiner.top_k = top_k
    if not parts:
        raise ValueError("the records contain no image; the refiner cannot be fitted to them")
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    images, classes, refined = (joined.pop(key) for key in (_IMAGE, _CLASSES, _REFINED))
    return RefinerInputs(joined, refined, classes, images)


def _make_step(detector: Any, spec: Mapping[str, tf.TypeSpec], top_k: int) -> Any:
    """Return a compiled function (batch, seed [2], whether to jitter) -> arrays [B, P, ...]."""

    @tf.function(
        input_signature=[spec, tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.bool)],
        autograph=False,
    )
    def step(batch: Any, seed: tf.Tensor, is_jittered: tf.Tensor) -> dict[str, tf.Tensor]:
        shapes = batch[Batch.true_image_shapes]
        predictions = detector.propose(batch[Batch.inputs], shapes)
        windows = coordinate_frames.image_windows(shapes)
        boxes = predictions[Predictions.proposal_boxes]
        boxes = tf.cond(is_jittered, lambda: jitter_boxes(boxes, windows, seed), lambda: boxes)
        predictions[Predictions.proposal_boxes] = boxes
        predictions[Predictions.proposal_boxes_normalized] = box_ops.change_coordinate_frame(
            boxes, windows
        )
        predictions |= detector.classify(predictions)
        targets = detector.assign_groundtruth(predictions, batch)
        main = predictions[Predictions.class_predictions]
        valid = (targets.class_weights > 0) & is_refined(
            main, predictions[Predictions.num_proposals], top_k
        )
        return {
            MAIN: main,
            **auxiliary_stage.auxiliary_logits(detector.aux_tasks, predictions),
            _REFINED: predictions[Predictions.refined_classes],
            _CLASSES: tf.argmax(targets.class_targets, axis=-1),
            "valid": valid,
        }

    return step


def is_refined(main: tf.Tensor, num_proposals: tf.Tensor, top_k: int) -> tf.Tensor:
    """Return whether a detection refines each proposal, bool [B, P]."""
    exists = tf.sequence_mask(num_proposals, tf.shape(main)[1])
    if not 0 < top_k < (main.shape[1] or top_k + 1):
        return exists
    scores = tf.reduce_max(tf.nn.softmax(main)[..., 1:], axis=-1)
    ranks = tf.argsort(tf.argsort(tf.where(exists, scores, -1.0), direction="DESCENDING"))
    return exists & (ranks < top_k)


def jitter_boxes(boxes: tf.Tensor, windows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return boxes [B, P, 4], moved and scaled at random and clipped to windows [B, 4]."""
    shape = tf.concat([tf.shape(boxes)[:2], [2]], axis=0)
    shifts = tf.random.stateless_uniform(shape, seed, -JITTER_SHIFT, JITTER_SHIFT)
    log_scale = float(np.log(JITTER_SCALE))
    scales = tf.exp(tf.random.stateless_uniform(shape, seed + 1, -log_scale, log_scale))
    corners, opposite = boxes[..., :2], boxes[..., 2:]
    sides = opposite - corners
    centers = (corners + opposite) / 2.0 + shifts * sides
    halves = sides * scales / 2.0
    moved = tf.concat([centers - halves, centers + halves], axis=-1)
    return box_ops.clip_to_window(moved, windows)


def _valid_rows(found: Mapping[str, tf.Tensor], first: int, limit: int) -> dict[str, np.ndarray]:
    """Return the valid proposals of at most `limit` images, the number of each one's image too."""
    arrays = {key: np.asarray(value)[:limit] for key, value in found.items()}
    valid = arrays.pop("valid")
    rows = {key: values[valid] for key, values in arrays.items()}
    return {**rows, _IMAGE: first + np.nonzero(valid)[0]}
