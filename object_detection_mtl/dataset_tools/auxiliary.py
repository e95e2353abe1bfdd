"""Auxiliary labels that are stored in a record when it is made, as the authors store them.

Shape letters: N objects of one picture, K classes without background, W windows, S side of a mask.

As in the authors' converter, labels are made from all objects of the annotation and from their
boxes as they stand there: also of those that the record leaves out, and not clipped to the picture.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import example as example_lib
from object_detection_mtl.mtl import labels

if TYPE_CHECKING:
    from object_detection_mtl.dataset_tools.conversion import AuxiliaryLabels


def add_labels(
    example: tf.train.Example,
    settings: AuxiliaryLabels,
    *,
    boxes: np.ndarray,
    classes: Sequence[int],
    kept: Sequence[int],
    image_size: tuple[int, int],
    source_id: str,
) -> None:
    """Adds windows, their labels, closeness and the foreground mask to a record.

    Args:
      example: the record, changed in place.
      settings: what to make them with.
      boxes: [N, 4] of all objects, normalised, as annotated.
      classes: N numbers of the label map.
      kept: rows of the objects that the record holds.
      image_size: height and width in pixels.
      source_id: names the picture; its windows depend on this and the seed.
    """
    compute = _computation(settings.num_classes, settings.num_windows)
    windows, window_labels, closeness, mask = compute(
        tf.constant(boxes, tf.float64),
        tf.constant(list(classes), tf.int32),
        tf.constant(image_size, tf.float64),
        tf.constant([settings.seed, _number_of(source_id)], tf.int32),
    )
    example_lib.add_auxiliary_labels(
        example,
        windows=windows.numpy(),
        window_labels=labels.to_text(window_labels),
        closeness=labels.to_text(closeness.numpy()[list(kept)]),
        edgemask=mask.numpy(),
    )


@functools.lru_cache(maxsize=8)
def _computation(num_classes: int, num_windows: int) -> Callable[..., tuple[tf.Tensor, ...]]:
    """One graph for pictures of every number of objects: (boxes, classes, size, seed) -> labels."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float64),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([2], tf.float64),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def compute(
        boxes: tf.Tensor, classes: tf.Tensor, size: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        windows = labels.sample_windows(boxes, size, num_windows, seed=seed)
        windows = windows[: labels.count_windows(boxes, num_windows)]
        return (
            windows,
            labels.window_labels(boxes, classes, windows, num_classes),
            labels.closeness_labels(boxes, classes, size, num_classes),
            labels.foreground_mask(boxes),
        )

    return compute


def _number_of(text: str) -> int:
    """A number for a text, the same on every machine and in every process."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little", signed=True)
