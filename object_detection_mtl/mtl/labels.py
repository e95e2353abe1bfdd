"""The three labels that boxes make by themselves: windows, closeness, foreground.

Shape letters: N boxes, W windows, K classes without background, S side of the mask, ... any leading
dimensions (the batch), the same in all arguments of a call.

Every function takes arrays or tensors, eagerly, in a graph of tf.data or under XLA (jit_compile),
one picture or a padded batch. Boxes are [ymin, xmin, ymax, xmax], normalised to the picture;
classes are 1..K, 0 is padding. Results are computed in float64 and have the type of the boxes.
Which rows count as objects, and what `num_boxes` and `valid` do, is said in objects.py.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import tensorflow as tf

from object_detection_mtl.mtl import unions
from object_detection_mtl.mtl.objects import (
    Array,
    are_objects,
    as_boxes,
    as_classes,
    as_floats,
    in_float64,
)
from object_detection_mtl.mtl.windows import count_windows, sample_windows

__all__ = [
    "closeness_labels",
    "count_windows",
    "foreground_mask",
    "sample_windows",
    "to_text",
    "window_labels",
]

TRANSFORMS = ("SQRT", "AREA")


def window_labels(
    boxes: Array,
    classes: Array,
    windows: Array,
    num_classes: int,
    *,
    transform: str = "SQRT",
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Multi-object soft labels [..., W, K+1]: what share of a window shows which class.

    A class counts with the area of the union of its boxes inside the window, the background (index
    0) with the area outside of all boxes; of each the square root is taken (transform "SQRT", the
    authors') or not ("AREA"), and the sum is scaled to one.

    boxes [..., N, 4] and windows [..., W, 4] may have any common unit and may reach beyond the
    picture: only their geometry counts. A window without area, inverted or not finite is all
    background.
    """
    if transform not in TRANSFORMS:
        raise ValueError(f"transform is {transform!r}, expected one of {TRANSFORMS}.")
    boxes, windows = as_boxes(boxes, "boxes"), as_boxes(windows, "windows")
    classes = as_classes(classes, num_classes)
    objects = are_objects(
        boxes, num_boxes=num_boxes, valid=valid, classes=classes, num_classes=num_classes
    )
    shapes = in_float64(boxes, objects)
    groups = tf.where(objects, classes, 0)
    frames = in_float64(windows, are_objects(windows))
    sizes = (frames[..., 2] - frames[..., 0]) * (frames[..., 3] - frames[..., 1])
    per_class = unions.areas(shapes, groups, frames, num_groups=num_classes + 1)[..., 1:]
    union = unions.areas(shapes, tf.zeros_like(groups), frames, num_groups=1)
    shares = tf.math.divide_no_nan(tf.concat([union, per_class], axis=-1), sizes[..., tf.newaxis])
    background = tf.maximum(1.0 - shares[..., :1], 0.0)
    shares = tf.concat([background, shares[..., 1:]], axis=-1)
    if transform == "SQRT":
        shares = tf.sqrt(shares)
    return tf.cast(shares / tf.reduce_sum(shares, axis=-1, keepdims=True), boxes.dtype)


def closeness_labels(
    boxes: Array,
    classes: Array,
    image_size: Array,
    num_classes: int,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """Closeness labels [..., N, K+1]: how near the nearest object of every other class is.

    An object at a distance d of the centres, in pixels, is 1 - d / diagonal of the picture close,
    and not at all at the diagonal or beyond. The entries, 0 for the own class, are scaled to a sum
    of one; where there is nothing of another class, the background (index 0) is 1. Rows that are no
    objects are 0.

    boxes: normalised [..., N, 4]; those outside the picture count where they are.
    image_size: (height, width) in pixels, [2] or [..., 2].
    """
    boxes, classes = as_boxes(boxes, "boxes"), as_classes(classes, num_classes)
    objects = are_objects(
        boxes, num_boxes=num_boxes, valid=valid, classes=classes, num_classes=num_classes
    )
    shapes = in_float64(boxes, objects)
    size = tf.cast(image_size, tf.float64)[..., tf.newaxis, :]
    centres = (shapes[..., :2] + shapes[..., 2:]) / 2.0 * size
    offsets = centres[..., tf.newaxis, :, :] - centres[..., :, tf.newaxis, :]
    distances = tf.norm(offsets, axis=-1)
    diagonal = tf.norm(size, axis=-1, keepdims=True)  # [..., 1, 1]
    closeness = tf.maximum(1.0 - distances / diagonal, 0.0)
    entries = _largest_per_class(closeness, tf.where(objects, classes, 0), num_classes)
    index = tf.range(num_classes + 1)
    is_other = (index > 0) & (index != classes[..., tf.newaxis])
    entries = tf.where(is_other, entries, 0.0)
    total = tf.reduce_sum(entries, axis=-1, keepdims=True)
    alone = tf.one_hot(tf.zeros_like(classes), num_classes + 1, dtype=tf.float64)
    labels = tf.where(total > 0.0, tf.math.divide_no_nan(entries, total), alone)
    return tf.cast(tf.where(objects[..., tf.newaxis], labels, 0.0), boxes.dtype)


def _largest_per_class(values: tf.Tensor, classes: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Maximum [..., N, K+1] over the objects of each class; 0 for a class without any.

    values: [..., N, N], not negative, the value of each row's object for each column's.
    """
    number, width = tf.shape(classes)[-1], num_classes + 1
    rows = tf.reshape(tf.linalg.matrix_transpose(values), [tf.size(classes), number])
    batch = tf.size(classes) // tf.maximum(number, 1)
    offsets = tf.repeat(tf.range(batch) * width, number)
    segments = tf.reshape(classes, [-1]) + offsets
    largest = tf.math.unsorted_segment_max(rows, segments, batch * width)
    shape = tf.concat([tf.shape(classes)[:-1], [width, number]], axis=0)
    return tf.linalg.matrix_transpose(tf.maximum(tf.reshape(largest, shape), 0.0))


def foreground_mask(
    boxes: Array,
    mask_size: int = 64,
    *,
    num_boxes: Array | int | None = None,
    valid: Array | None = None,
) -> tf.Tensor:
    """The mask of the foreground and the weight of its cells, [..., 2, S, S].

    A box [..., N, 4] covers the cells floor(ymin * S) to min(S - 1, floor(ymax * S + 0.99)),
    inclusive, and the same in x; one without area a cell or two, one that does not touch the
    picture none. The mask is 1 on covered cells. The weight of a cell is the largest 1 / (number of
    its cells) among the boxes that cover it, at least 1 / S^2, divided by the mean over all cells.
    """
    if mask_size < 1:
        raise ValueError(f"mask_size is {mask_size}, expected at least 1.")
    boxes = as_boxes(boxes, "boxes")
    objects = are_objects(boxes, num_boxes=num_boxes, valid=valid)
    shapes = in_float64(boxes, objects)
    touches = tf.reduce_all(shapes[..., :2] <= 1.0, -1) & tf.reduce_all(shapes[..., 2:] >= 0.0, -1)
    edges = tf.clip_by_value(shapes, 0.0, 1.0) * mask_size
    first = tf.minimum(tf.floor(edges[..., :2]), mask_size - 1.0)
    last = tf.minimum(tf.floor(edges[..., 2:] + 0.99), mask_size - 1.0)
    number_of_cells = tf.reduce_prod(last - first + 1.0, axis=-1)

    # Among covering boxes the one with the fewest cells decides. Its rank, an integer that float32
    # holds, is the larger the fewer cells it has, and 0 stands for no box.
    most = float(mask_size**2)
    rank = tf.where(objects & touches, most + 1.0 - number_of_cells, 0.0)
    cell = tf.range(mask_size, dtype=tf.float64)
    inside = (first[..., tf.newaxis] <= cell) & (cell <= last[..., tf.newaxis])  # [..., N, 2, S]
    inside = tf.cast(inside, tf.float32)
    ranked_rows = inside[..., 0, :] * tf.cast(rank, tf.float32)[..., tf.newaxis]
    ranks = ranked_rows[..., :, tf.newaxis] * inside[..., 1, tf.newaxis, :]
    top = tf.cast(tf.maximum(tf.reduce_max(ranks, axis=-3), 0.0), tf.float64)

    mask = tf.cast(top > 0.0, tf.float64)
    weight = 1.0 / tf.minimum(most + 1.0 - top, most)
    weight /= tf.reduce_mean(weight, axis=[-2, -1], keepdims=True)
    return tf.cast(tf.stack([mask, weight], axis=-3), boxes.dtype)


def to_text(labels: Array) -> list[str]:
    """The strings that the authors' records hold, one per row of labels [N, K+1].

    Three digits, halves away from zero (as Python 2 rounds), without ".0", separated by spaces.
    """
    values = np.asarray(as_floats(labels), np.float64)
    if values.ndim != 2:
        raise ValueError(f"labels have the shape {values.shape}, expected [number, classes + 1].")
    if not np.isfinite(values).all():
        raise ValueError(f"labels hold a number that is not finite: {values[~np.isfinite(values)]}")
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([_rounded(value) for value in distinct.tolist()], object)
    return [" ".join(row) for row in texts[places.reshape(values.shape)]]


def _rounded(value: float) -> str:
    """A number with at most three digits. Decimal sees the exact value, so a half is a half."""
    text = str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP)).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
