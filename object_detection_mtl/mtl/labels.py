"""The three labels that boxes make by themselves: windows, closeness, foreground.

Shape letters: N boxes, W windows, K classes without background, S side of the mask, ... any leading
dimensions (the batch), the same in all arguments of a call.

Every function takes arrays or tensors, eagerly, in a graph of tf.data or under XLA (jit_compile),
one picture or a padded batch. Boxes are [ymin, xmin, ymax, xmax], normalised to the picture;
classes are 1..K, 0 is padding. Results are computed in float64 and have the type of the boxes.
Which rows count as objects, and what `num_boxes` and `valid` do, is said in objects.py.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import tensorflow as tf

from object_detection_mtl.mtl import unions
from object_detection_mtl.mtl.covers import first_cover
from object_detection_mtl.mtl.objects import (
    Array,
    are_objects,
    as_boxes,
    as_classes,
    as_floats,
    in_float64,
)
from object_detection_mtl.mtl.windows import count_windows, sample_windows
from object_detection_mtl.ops.shapes import size, smallest

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
    groups = tf.where(objects, classes - 1, num_classes)
    frames = in_float64(windows, are_objects(windows))
    union, per_class = unions.areas(
        in_float64(boxes, objects), groups, frames, num_groups=num_classes
    )
    sizes = (frames[..., 2] - frames[..., 0]) * (frames[..., 3] - frames[..., 1])
    background = tf.where(sizes > 0.0, tf.maximum(sizes - union, 0.0), 1.0)
    areas = tf.concat([background[..., tf.newaxis], per_class], axis=-1)
    if transform == "SQRT":
        areas = tf.sqrt(areas)
    total = tf.cast(tf.reduce_sum(areas, axis=-1, keepdims=True), boxes.dtype)
    return tf.cast(areas, boxes.dtype) / total


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
    pixels = tf.cast(image_size, tf.float64)[..., tf.newaxis, :]
    shapes = in_float64(boxes, objects)
    centres = (shapes[..., :2] + shapes[..., 2:]) * (pixels / 2.0)
    y, x = tf.unstack(centres, num=2, axis=-1)
    squares = tf.square(y[..., tf.newaxis] - y[..., tf.newaxis, :])
    squares += tf.square(x[..., tf.newaxis] - x[..., tf.newaxis, :])
    diagonal = tf.norm(pixels, axis=-1, keepdims=True)  # [..., 1, 1]
    closeness = tf.maximum(1.0 - tf.sqrt(squares) / diagonal, 0.0)
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

    values: [..., N, N], not negative, the value of each row's object for each column's, and the
      same the other way round.
    """
    number, width = tf.shape(classes)[-1], num_classes + 1
    rows = tf.reshape(values, [tf.size(classes), number])
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
    cells = tf.reduce_prod(last - first + 1.0, axis=-1)
    counts = objects & touches

    # Of the boxes that cover a cell the one with the fewest cells decides. What differs from row to
    # row is found out once for every strip of equal rows.
    fewest, order = tf.math.top_k(tf.where(counts, -cells, -math.inf), k=tf.shape(cells)[-1])
    leading = order.shape.rank - 1
    sides = tf.gather(tf.concat([first, last], -1), order, batch_dims=leading)
    cell = tf.range(mask_size, dtype=sides.dtype)
    columns = (sides[..., 1, tf.newaxis] <= cell) & (cell <= sides[..., 3, tf.newaxis])
    strips, row = _strips(sides[..., 0], sides[..., 2], mask_size)
    row = tf.cast(row, sides.dtype)[..., tf.newaxis, :]
    rows = (sides[..., 0, tf.newaxis] <= row) & (row <= sides[..., 2, tf.newaxis])
    place = first_cover(rows, columns, fewest > -math.inf)  # [..., R, S]

    nothing = tf.fill(tf.concat([tf.shape(cells)[:-1], [1]], 0), float(mask_size**-2))
    weights = tf.concat([-1.0 / fewest, tf.cast(nothing, tf.float64)], axis=-1)
    weight = tf.gather(weights, place, batch_dims=leading)
    means = tf.gather(tf.reduce_mean(weight, axis=-1), strips, batch_dims=leading)
    mean = tf.reduce_mean(means, axis=-1)[..., tf.newaxis, tf.newaxis]
    mask = tf.cast(place < tf.shape(cells)[-1], boxes.dtype)
    weight = tf.cast(weight, boxes.dtype) / tf.cast(mean, boxes.dtype)
    both = tf.stack([mask, weight], axis=-3)  # [..., 2, R, S]
    return tf.gather(both, strips, axis=leading + 1, batch_dims=leading)


def _strips(first: tf.Tensor, last: tf.Tensor, mask_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of the mask that the same boxes cover, from and to the rows [..., N], form strips.

    Returns int32 [..., S], the strip of every row, and [..., R], the first row of every strip.
    """
    row = tf.range(mask_size, dtype=first.dtype)
    begins = tf.equal(first[..., tf.newaxis], row) | tf.equal(last[..., tf.newaxis] + 1.0, row)
    begins = tf.cast(tf.reduce_any(begins, axis=-2), tf.int32)
    strips = tf.cumsum(begins, axis=-1) - begins[..., :1]
    number = smallest(2 * size(first, -1) + 1, mask_size)
    wanted = tf.zeros_like(begins)[..., :number] + tf.range(number)
    return strips, tf.minimum(tf.searchsorted(strips, wanted), mask_size - 1)


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
