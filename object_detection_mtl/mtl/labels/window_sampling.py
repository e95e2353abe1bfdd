"""Random windows of an image that contain at least one object.

Shape letters: N boxes, W windows, M candidates of one round, B images.

One candidate: height = u * (H - 32) + 32, likewise the width, the center uniform in the image;
clipped to the image; a side that clipping made shorter than 32 pixels is pushed back to 32 along
the border. Candidates that contain no part of an object are rejected, the first W others are kept.

Candidates are drawn in rounds of many. A window covers any given corner of the image with a
probability above 1/16 (above 1/4 on each axis), and every other place with a higher one; so at
least that fraction of the candidates is kept, and the rounds below give 64 W candidates or more.
Windows that are still missing then, if any, are the whole image, which contains the object too.

The same seed gives the same windows eagerly, in a graph, under XLA and on every machine: Philox
draws integers of 32 bits, in float64 all of the arithmetic on these fractions of 2^32 is exact
except for one division, and its result is rounded to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from object_detection_mtl.mtl.labels.padded_objects import Array, are_objects, as_boxes, in_float64
from object_detection_mtl.ops.tensor_shapes import size

MIN_SIDE = 32.0  # pixels
_MAX_ROUNDS = 32
_PHILOX = 1
_SCRAMBLING_KEY = 0x02461E293EC8F720


def sample_windows(
    boxes: Array,
    image_size: Array,
    num_windows: int = 64,
    *,
    seed: Array | int,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Return random windows [..., W, 4], normalized, each with a part of an object.

    An image without an object (no box, or none that covers a part of the image) has windows of the
    same distribution, without rejection; all are background. `count_windows` gives the number of
    them that are to be used: one.

    Args:
        boxes: normalized [..., N, 4]. Their type is the windows' type.
        image_size: (height, width) in pixels, [2] or [..., 2]. A side of the image that is shorter
            than 32 pixels is shorter than any window: windows span it.
        num_windows: W.
        seed: integers [2], or one integer; a batch draws from one seed then, and the windows of an
            image depend on its place in the batch. Or integers [..., 2], a seed per image, which
            then has the same windows at every place, and alone.
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], see padded_objects.py.

    Raises:
        ValueError: num_windows is less than 1, a side is not positive, or a seed of another shape.
    """
    if num_windows < 1:
        raise ValueError(f"num_windows is {num_windows}, expected at least 1.")
    boxes = as_boxes(boxes, "boxes")
    leading = [size(boxes, axis) for axis in range(boxes.shape.rank - 2)]
    targets = in_float64(boxes, are_objects(boxes, num_boxes=num_boxes, valid=valid))
    pixels = tf.reshape(tf.broadcast_to(_in_pixels(image_size), [*leading, 2]), [-1, 2])
    targets = tf.reshape(targets, [-1, size(boxes, -2), 4])
    windows = _first_accepted(targets, pixels, num_windows, as_seed(seed, boxes))
    return tf.cast(tf.reshape(windows, [*leading, num_windows, 4]), boxes.dtype)


def count_windows(
    boxes: Array,
    num_windows: int = 64,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Return int32 [...], the number of an image's windows to use: 1 without an object, else all.

    Windows without an object all have the same label; the authors keep one.

    Args:
        boxes: normalized [..., N, 4].
        num_windows: W.
        num_boxes: integers [...], rows from there on are padding.
        valid: bool [..., N], see padded_objects.py.
    """
    boxes = as_boxes(boxes, "boxes")
    targets = in_float64(boxes, are_objects(boxes, num_boxes=num_boxes, valid=valid))
    return tf.where(_any_visible(targets), num_windows, 1)


def _in_pixels(image_size: Array) -> tf.Tensor:
    """Return float64 [..., 2]; eagerly, raise a ValueError if a side is not positive."""
    pixels = tf.cast(image_size, tf.float64)
    if isinstance(pixels, tf.__internal__.EagerTensor) and not (pixels.numpy() > 0).all():
        raise ValueError(
            f"image_size is {pixels.numpy().tolist()}, expected a positive (height, width)."
        )
    return pixels


def as_seed(seed: Array | int, boxes: tf.Tensor) -> tf.Tensor:
    """Return the seed as integers [2] or, one per image of a batch, [B, 2].

    Args:
        seed: an integer, [2], or [..., 2].
        boxes: [..., N, 4].

    Raises:
        ValueError: a seed of another shape.
    """
    seed = tf.convert_to_tensor(seed)
    if seed.shape.rank == 0:
        seed = tf.stack([seed, tf.zeros_like(seed)])
    per_image = boxes.shape[:-2].concatenate(2)
    if seed.shape != [2] and not seed.shape.is_compatible_with(per_image):
        raise ValueError(
            f"seed has the shape {seed.shape}, expected one integer, two, or two per image."
        )
    return seed if seed.shape.rank == 1 else tf.reshape(seed, [-1, 2])


def _any_visible(boxes: tf.Tensor) -> tf.Tensor:
    """Return bool [...], whether any box covers a part, of positive area, of the image."""
    starts, ends = tf.maximum(boxes[..., :2], 0.0), tf.minimum(boxes[..., 2:], 1.0)
    return tf.reduce_any(tf.reduce_all(starts < ends, axis=-1), axis=-1)


def _first_accepted(
    boxes: tf.Tensor, pixels: tf.Tensor, num_windows: int, seed: tf.Tensor
) -> tf.Tensor:
    """Return float64 [B, W, 4], the first W candidates that touch a box of boxes [B, N, 4].

    All images have the same number of rounds; rounds that an image does not need do not change it.
    """
    candidates_per_round = max(2 * num_windows, 64)
    has_no_object = ~_any_visible(boxes)[:, tf.newaxis]
    images = size(boxes, 0)
    wanted = tf.tile(tf.range(1, num_windows + 1)[tf.newaxis], [images, 1])

    def missing(round_index: tf.Tensor, found: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return (round_index < _MAX_ROUNDS) & (tf.reduce_min(found) < num_windows)

    def draw(round_index: tf.Tensor, found: tf.Tensor, windows: tf.Tensor) -> tuple:
        bits = _draw_bits(seed, round_index, images, candidates_per_round)
        drawn = _candidates(pixels, bits)
        accepted = tf.cast(_touch(drawn, boxes) | has_no_object, tf.int32)
        count = tf.cumsum(accepted, axis=1) + found[:, tf.newaxis]
        # The candidate that brings the count to w is window w; those of earlier rounds stay.
        place = tf.searchsorted(count, wanted)
        chosen = tf.gather(drawn, tf.minimum(place, candidates_per_round - 1), batch_dims=1)
        is_new = (wanted > found[:, tf.newaxis])[..., tf.newaxis]
        return round_index + 1, count[:, -1], tf.where(is_new, chosen, windows)

    nothing = (
        tf.constant(0),
        tf.zeros([images], tf.int32),
        tf.zeros([images, num_windows, 4], tf.float64),
    )
    _, found, windows = tf.while_loop(missing, draw, nothing)
    is_found = (wanted <= found[:, tf.newaxis])[..., tf.newaxis]
    return tf.where(is_found, windows, tf.constant([0.0, 0.0, 1.0, 1.0], tf.float64))


def _touch(windows: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Return bool [B, M], whether windows [B, M, 4] contain a part, of positive area, of a box."""
    has_area = tf.reduce_all(boxes[..., :2] < boxes[..., 2:], axis=-1, keepdims=True)
    boxes = tf.where(has_area, boxes, 2.0)[..., tf.newaxis, :, :]  # Beyond every window.
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)  # each [B, 1, N]
    top, left, bottom, right = tf.split(windows, 4, axis=-1)  # each [B, M, 1]
    in_y, in_x = (top < ymax) & (ymin < bottom), (left < xmax) & (xmin < right)
    return tf.reduce_any(in_y & in_x, axis=-1)


def _draw_bits(
    seed: tf.Tensor, round_index: tf.Tensor, images: int | tf.Tensor, number: int
) -> tf.Tensor:
    """Return int32 [B, M, 4], uniform. XLA's random floating-point numbers would differ."""
    if seed.shape.rank == 1:
        one_seed = fold_in(seed[tf.newaxis], round_index)
        return uniform_bits(one_seed, [images, number, 4])[0]
    return uniform_bits(fold_in(seed, round_index), [number, 4])


def _candidates(pixels: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Return float64 [B, M, 4] with float32's precision: normalized windows, before rejection."""
    fractions = (tf.cast(bits, tf.float64) + 2.0**31) / 2.0**32
    side_draws, center_draws = tf.split(fractions, 2, axis=-1)
    sides = pixels[:, tf.newaxis, :]  # [B, 1, 2]
    shortest = tf.minimum(tf.constant(MIN_SIDE, tf.float64), sides)
    half = (side_draws * (sides - shortest) + shortest) / 2.0
    center = center_draws * sides
    low = tf.maximum(center - half, 0.0)
    high = tf.minimum(center + half, sides)
    # Only a clipped side is shorter than the shortest, and it then touches that border.
    high = tf.maximum(high, tf.where(low <= 0.0, shortest, high))
    low = tf.minimum(low, tf.where(high >= sides, sides - shortest, low))
    windows = tf.concat([low, high], axis=-1) / tf.concat([sides, sides], axis=-1)
    return tf.cast(tf.cast(windows, tf.float32), tf.float64)


def fold_in(seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Return seeds int32 [B, 2] made from seeds int32 [B, 2] and one number.

    They are those of `tf.random.experimental.stateless_fold_in`, for each seed.
    """
    first = uniform_bits(seeds, [])
    return tf.stack([first, tf.broadcast_to(number, tf.shape(first))], axis=-1)


def uniform_bits(seeds: tf.Tensor, shape: list) -> tf.Tensor:
    """Return int32 [B, *shape], uniform over all 32 bits, from seeds int32 [B, 2].

    The bits are those of `tf.random.stateless_uniform(..., alg="philox")` for each seed, which
    would take more than ten operations for each image; here an image takes one.
    """
    # Made once: a graph repeats what is made for each image.
    two_by_two, each_shape = tf.constant([2, 2]), tf.convert_to_tensor(shape, tf.int32)
    algorithm, key = tf.constant(_PHILOX), tf.constant([_SCRAMBLING_KEY], tf.uint64)

    def mix(counter: tf.Tensor) -> tf.Tensor:
        return _random_bits(two_by_two, key, counter, algorithm, tf.uint32)

    def draw(key_and_counter: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return _random_bits(each_shape, *key_and_counter, algorithm, tf.int32)

    mixed = _each(mix, tf.bitcast(tf.cast(seeds, tf.int64), tf.uint64), tf.uint32)
    keys, counters = tf.split(tf.bitcast(mixed, tf.uint64), 2, axis=-1)  # each [B, 1]
    return _each(draw, (keys, tf.concat([tf.zeros_like(counters), counters], axis=-1)), tf.int32)


def _each(function: Callable[[Any], tf.Tensor], rows: Any, dtype: tf.DType) -> tf.Tensor:
    """Return the function of each row of a tensor, or of each row of the tensors of a tuple."""
    first = tf.nest.flatten(rows)[0]
    if first.shape[0] is None:
        return tf.map_fn(function, rows, fn_output_signature=dtype)
    if isinstance(rows, tuple):
        return tf.stack([function(row) for row in zip(*map(tf.unstack, rows), strict=True)])
    return tf.stack([function(row) for row in tf.unstack(rows)])


def _random_bits(
    shape: tf.Tensor, key: tf.Tensor, counter: tf.Tensor, algorithm: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=shape, key=key, counter=counter, alg=algorithm, dtype=dtype
    )
