"""Data augmentation: definition, horizontal flip, shared operations.

Shape letters: N objects of one image (not padded), H W the image.

An augmentation is a function from (example, seed) to example. The example is the dictionary of one
image before batching: "image" [H, W, 3] and the tensors of fields.Groundtruth without a batch
dimension. The seed, int32 [2], is the only source of randomness: the same seed gives the same
change, eagerly and inside Dataset.map. An augmentation changes every tensor that it affects and
passes on the others, so that labels made afterwards fit the image that the model gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.ops import boxes as box_ops

IMAGE = "image"  # [H, W, 3], uint8 as decoded
MIRRORED = "mirrored"  # optional bool []: whether the example is flipped left to right

# The tensors with one row per object, [N, ...] each.
OBJECT_LISTS = (
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.weights,
    Groundtruth.is_crowd,
    Groundtruth.difficult,
    Groundtruth.group_of,
    Groundtruth.area,
)

Example = dict[str, tf.Tensor]
Augmentation = Callable[[Example, tf.Tensor], Example]


def random_horizontal_flip(probability: float = 0.5) -> Augmentation:
    """Return an augmentation that flips the image and its boxes left to right.

    Args:
        probability: probability of a flip, 0..1. Images without boxes are flipped too.

    Returns:
        The augmentation.

    Raises:
        ValueError: the probability is outside 0..1.
    """
    check_probability("random_horizontal_flip", probability)

    def flip(example: Example, seed: tf.Tensor) -> Example:
        return tf.cond(
            chance(seed, probability), lambda: flip_left_right(example), lambda: dict(example)
        )

    return flip


def flip_left_right(example: Example) -> Example:
    """Return the flipped example; `MIRRORED` is inverted in an example that has it."""
    flipped = {**example, IMAGE: tf.reverse(example[IMAGE], axis=[1])}
    flipped[Groundtruth.boxes] = box_ops.flip_left_right(example[Groundtruth.boxes])
    if MIRRORED in example:
        flipped[MIRRORED] = ~example[MIRRORED]
    return flipped


def apply_all(example: Example, augmentations: Sequence[Augmentation], seed: tf.Tensor) -> Example:
    """Apply augmentations in order, each with its own seed drawn from `seed` int32 [2]."""
    for number, augmentation in enumerate(augmentations):
        example = augmentation(
            example, tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
        )
    return example


def unless(probability: float, augmentation: Augmentation) -> Augmentation:
    """Return an augmentation that does nothing with the given probability."""

    def augment(example: Example, seed: tf.Tensor) -> Example:
        change_seed, coin_seed = split_seed(seed)
        return tf.cond(
            chance(coin_seed, probability),
            lambda: dict(example),
            lambda: augmentation(example, change_seed),
        )

    return augment


def split_seed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return two independent seeds [2] from one."""
    first, second = (
        tf.random.experimental.stateless_fold_in(seed, number, alg="philox") for number in (0, 1)
    )
    return first, second


def keep_objects(example: Example, kept: tf.Tensor) -> Example:
    """Return the example with only those objects for which `kept` bool [N] is true."""
    rows = tf.where(kept)[:, 0]
    lists = example.keys() & set(OBJECT_LISTS)
    return {**example, **{key: tf.gather(example[key], rows) for key in sorted(lists)}}


def chance(seed: tf.Tensor, probability: float) -> tf.Tensor:
    """Return a bool scalar, True with the given probability: never at 0, always at 1."""
    return uniform(seed, 0.0, 1.0) < probability


def uniform(
    seed: tf.Tensor, low: float | tf.Tensor, high: float | tf.Tensor, shape: Sequence = ()
) -> tf.Tensor:
    """Return float32 numbers in [low, high)."""
    # Philox on every device: the default algorithm differs between devices.
    drawn = tf.random.stateless_uniform(shape, seed, alg="philox")
    return low + (high - low) * drawn


def whole_number(seed: tf.Tensor, low: int | tf.Tensor, high: int | tf.Tensor) -> tf.Tensor:
    """Return int32 numbers in [low, high], both included, of the shape of low and high."""
    low, high = tf.convert_to_tensor(low, tf.int32), tf.convert_to_tensor(high, tf.int32)
    span = tf.cast(high - low + 1, tf.float32)
    steps = tf.floor(uniform(seed, 0.0, 1.0, tf.shape(span)) * span)
    return tf.minimum(low + tf.cast(steps, tf.int32), high)


def check_probability(step: str, probability: float) -> None:
    """Raise a ValueError that names the step unless the probability is in 0..1."""
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{step}: probability is {probability}, expected 0 to 1")
