"""From the parsed features of a record to the example of a batch: augmentation, labels, resizing.

Shape letters: H W a decoded image, h w an image of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from object_detection_mtl.data import augmentation, example_issues
from object_detection_mtl.data.augmentation import IMAGE, MIRRORED, Augmentation, Example
from object_detection_mtl.data.auxiliary_labels import LabelMaker
from object_detection_mtl.fields import Batch, Groundtruth

# [H, W, 3] float32 in 0..255 -> the model's input [h, w, 3] and its true shape [3].
PreprocessFn = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def make_loader(
    decode: Callable[..., Example],
    preprocess_fn: PreprocessFn,
    seed: int,
    augmentations: Sequence[Augmentation],
    max_boxes: int | None,
    object_keys: frozenset[str],
    *,
    stored: LabelMaker | None,
    on_the_fly: LabelMaker | None,
    is_training: bool,
    retain_original_images: bool,
) -> Callable[..., Any]:
    """Return load(example number, parsed features, place) -> example, or (example, sources).

    `sources` are the inputs of labels that are computed of several examples together.

    Args:
        decode: of `example_decoder.make_decoder`.
        preprocess_fn: resizes and normalizes the image.
        seed: seed of the run; with the number of an example it is that of its augmentation.
        augmentations: see augmentation.py.
        max_boxes: surplus boxes are dropped and counted; None keeps all.
        object_keys: keys of the values with a row for each object.
        stored: reads the labels of the auxiliary tasks from records.
        on_the_fly: computes them; at most one of the two is given.
        is_training: drop what only evaluation reads.
        retain_original_images: add the augmented image as it is before resizing.
    """

    # It has no Python control flow on tensors; AutoGraph would double the tracing time.
    @tf.autograph.experimental.do_not_convert
    def load(number: tf.Tensor, parsed: dict[str, tf.Tensor], place: tf.Tensor) -> Any:
        example = decode(parsed, place)
        issues = example.pop(Batch.issues)
        if is_training:
            example.pop(Groundtruth.image_classes)
        change_seed, label_seed = _example_seeds(seed, number)
        example = _augment(example, augmentations, change_seed, stored)
        sources: Example = {}
        if on_the_fly is not None:
            # Labels are computed in pixels of the image before it is resized, from all boxes.
            size = tf.shape(example[IMAGE])[:2]
            sources = on_the_fly.sources(example, size, label_seed)
        example, num_surplus = _limit_boxes(example, max_boxes, object_keys)
        example = _model_input(example, preprocess_fn, retain_original_images, object_keys)
        example[Batch.example_number] = number
        example[Batch.issues] = issues + example_issues.count_of(
            example_issues.SURPLUS_BOX, num_surplus
        )
        return (example, sources) if sources else example

    return load


def _example_seeds(seed: int, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return two seeds int32 [2] of one example: of its augmentation and of its windows.

    They differ from the seeds of the epochs.
    """
    families = [
        tf.random.experimental.stateless_fold_in(
            tf.constant([seed, family], tf.int64), number, alg="philox"
        )
        for family in (1, 2)
    ]
    augmentation, windows = (tf.bitcast(family, tf.int32)[:, 0] for family in families)
    return augmentation, windows


def _augment(
    example: Example,
    augmentations: Sequence[Augmentation],
    seed: tf.Tensor,
    stored: LabelMaker | None,
) -> Example:
    """Return the augmented example; stored labels are flipped with the image."""
    if stored is None:
        return augmentation.apply_all(example, augmentations, seed)
    example = augmentation.apply_all({**example, MIRRORED: tf.constant(False)}, augmentations, seed)
    mirrored = example.pop(MIRRORED)
    return tf.cond(mirrored, lambda: stored.flip_left_right(example), lambda: dict(example))


def _limit_boxes(
    example: Example, max_boxes: int | None, object_keys: frozenset[str]
) -> tuple[Example, tf.Tensor]:
    """Return the example with its first boxes, and the number of the others."""
    if max_boxes is None:
        return example, tf.zeros([], tf.int32)
    number = tf.shape(example[Groundtruth.boxes])[0]
    limited = {
        key: value[:max_boxes] if key in object_keys else value for key, value in example.items()
    }
    return limited, tf.maximum(number - max_boxes, 0)


def _model_input(
    example: Example,
    preprocess_fn: PreprocessFn,
    retain_original_images: bool,
    object_keys: frozenset[str],
) -> Example:
    """Return the example in the form of a batch."""
    image = example.pop(IMAGE)
    inputs, true_image_shape = preprocess_fn(tf.cast(image, tf.float32))
    example[Batch.inputs] = inputs
    example[Batch.true_image_shapes] = tf.ensure_shape(true_image_shape, [3])
    example[Batch.original_image_shapes] = tf.ensure_shape(tf.shape(image), [3])
    if retain_original_images:
        example[Batch.original_images] = image
    number = tf.shape(example[Groundtruth.boxes])[0]
    example[Groundtruth.num_boxes] = number
    # One row of padding if there is no box: a reduction over G = 0 rows has no result.
    missing = tf.maximum(0, 1 - number)
    for key in example.keys() & object_keys:
        values = example[key]
        example[key] = tf.pad(values, [[0, missing]] + [[0, 0]] * (values.shape.rank - 1))
    return example
