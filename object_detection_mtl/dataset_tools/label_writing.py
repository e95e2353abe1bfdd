"""Auxiliary labels that are stored in a record when it is made, as the authors store them.

Shape letters: N objects of one picture, K classes without background, W windows, S side of a mask.

As in the authors' converter, labels are made from all objects of the annotation and from their
boxes as they stand there: also of those that the record leaves out, and not clipped to the picture.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import example_format as example_lib
from object_detection_mtl.dataset_tools.conversion_options import AuxiliaryLabelOptions
from object_detection_mtl.mtl.labels import (
    closeness_labels,
    count_windows,
    foreground_mask,
    sample_windows,
    to_text,
    window_labels,
)


class Labels(NamedTuple):
    """The auxiliary labels of a picture."""

    windows: np.ndarray  # [W, 4] normalised; one of an image without object
    window_labels: np.ndarray  # [W, K+1]
    closeness: np.ndarray  # [N, K+1]
    edgemask: np.ndarray  # [2, S, S], mask and weight


def make_labels(
    settings: AuxiliaryLabelOptions,
    *,
    boxes: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    image_size: tuple[int, int],
    source_id: str,
) -> Labels:
    """Makes the labels of one picture.

    Args:
      settings: what to make them with.
      boxes: [N, 4], normalised.
      classes: N numbers of the label map.
      image_size: height and width in pixels.
      source_id: names the picture; its windows depend on this and the seed.
    """
    made = _computation(settings.num_classes, settings.num_windows)(
        tf.constant(boxes, tf.float64),
        tf.constant(list(classes), tf.int32),
        tf.constant(image_size, tf.float64),
        tf.constant([settings.seed, number_of(source_id)], tf.int32),
    )
    return Labels(*(tensor.numpy() for tensor in made))


def add_labels(example: tf.train.Example, labels: Labels, kept: Sequence[int]) -> None:
    """Adds labels to a record, which holds the objects of these rows only."""
    example_lib.add_auxiliary_labels(
        example,
        windows=labels.windows,
        window_labels=to_text(labels.window_labels),
        closeness=to_text(labels.closeness[list(kept)]),
        edgemask=labels.edgemask,
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
        windows = sample_windows(boxes, size, num_windows, seed=seed)
        windows = windows[: count_windows(boxes, num_windows)]
        return (
            windows,
            window_labels(boxes, classes, windows, num_classes),
            closeness_labels(boxes, classes, size, num_classes),
            foreground_mask(boxes),
        )

    return compute


def number_of(text: str) -> int:
    """A number for a text, the same on every machine and in every process."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little", signed=True)
