"""Augmentations of classes: objects of a class dropped at random, classes joined.

Every factory returns an augmentation as augmentation.py defines it. The names, defaults and
meanings of the arguments are those of preprocessor.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    Augmentation,
    Example,
    check_probability,
    keep_objects,
    uniform,
)
from object_detection_mtl.fields import Groundtruth


def drop_label_probabilistically(label: int, drop_probability: float = 1.0) -> Augmentation:
    """Return an augmentation that drops each object of a class with the given probability."""
    check_probability("drop_label_probabilistically: drop_probability as", drop_probability)
    if label < 1:
        raise ValueError(
            f"drop_label_probabilistically: label is {label}, expected the id of a class"
        )

    def augment(example: Example, seed: tf.Tensor) -> Example:
        classes = example[Groundtruth.classes]
        dropped = uniform(seed, 0.0, 1.0, tf.shape(classes)) < drop_probability
        return keep_objects(example, ~(dropped & tf.equal(classes, label)))

    return augment


def remap_labels(original_labels: Sequence[int], new_label: int) -> Augmentation:
    """Return an augmentation that replaces classes by another one."""
    if new_label < 1:
        raise ValueError(f"remap_labels: new_label is {new_label}, expected the id of a class")
    originals = tf.constant(list(original_labels), tf.int32)

    def augment(example: Example, seed: tf.Tensor) -> Example:
        classes = example[Groundtruth.classes]
        matches = tf.reduce_any(tf.equal(classes[:, tf.newaxis], originals), axis=1)
        changed = tf.where(matches, tf.constant(new_label, classes.dtype), classes)
        return {**example, Groundtruth.classes: changed}

    return augment
