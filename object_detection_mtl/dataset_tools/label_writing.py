"""Auxiliary labels stored in records, as the authors' converters store them.

Shape letters: N objects of one image, K classes without background, W windows, S side of a mask.

As in the authors' converters, labels are made from all objects of the annotation, including those
that the record skips, and from their boxes as annotated, not clipped to the image.
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
    """The auxiliary labels of one image."""

    windows: np.ndarray  # [W, 4] normalized; one of an image without objects
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
    """Return the labels of one image.

    Args:
        settings: options of the labels.
        boxes: [N, 4], normalized.
        classes: N numbers of the label map.
        image_size: height and width in pixels.
        source_id: source id of the image; its windows depend on this and the seed.
    """
    made = _computation(settings.num_classes, settings.num_windows)(
        tf.constant(boxes, tf.float64),
        tf.constant(list(classes), tf.int32),
        tf.constant(image_size, tf.float64),
        tf.constant([settings.seed, number_of(source_id)], tf.int32),
    )
    return Labels(*(tensor.numpy() for tensor in made))


def add_labels(example: tf.train.Example, labels: Labels, kept: Sequence[int]) -> None:
    """Add labels to a record that holds the objects of the rows `kept`."""
    example_lib.add_auxiliary_labels(
        example,
        windows=labels.windows,
        window_labels=to_text(labels.window_labels),
        closeness=to_text(labels.closeness[list(kept)]),
        edgemask=labels.edgemask,
    )


@functools.lru_cache(maxsize=8)
def _computation(num_classes: int, num_windows: int) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Return one graph for any number of objects: (boxes, classes, size, seed) -> labels."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float64),
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([2], tf.float64),
            tf.TensorSpec([2], tf.int32),
        ],
        autograph=False,
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
    """Return a number for a text, the same on every machine and in every process."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little", signed=True)
