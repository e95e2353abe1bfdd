"""Exact areas of unions of boxes inside windows, for any number of boxes.

Shape letters: N boxes, E = 2N their edges along one axis, W windows, ... any leading dimensions
(the batch), A = 2 arrangements of the edges, R a block of rows.

Coordinates are compressed: the E y's of the boxes, sorted, divide the plane into strips, the x's
likewise, and every cell between them is either covered or not. With overlap_y[w, i] and
overlap_x[w, j] the lengths of a window on the strips, the area of the union inside the window is
    sum over i, j of overlap_y[w, i] * covered[i, j] * overlap_x[w, j].
Groups (classes) are independent of each other. Sorted by (group, coordinate), each
group has its own strips, made from its own boxes only, and `covered` is a block-diagonal matrix
[E, E] with one block per group: one matrix product serves all groups, however the boxes are
distributed over them, in time quadratic in N. The union of all boxes, whose strips are sorted by
coordinate alone, is computed beside it, as the first of the two arrangements: with few boxes most
of the time goes into starting operations. With many boxes memory is the limit: `covered` is
computed for a block of rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from object_detection_mtl.ops.tensor_shapes import Size, size

_CELLS_OF_A_BLOCK = 2**17  # of `covered`: a megabyte
_ROWS_OF_A_BLOCK = 64  # Adding up rows by a matrix product takes as many steps per cell.


def areas(
    boxes: tf.Tensor, groups: tf.Tensor, windows: tf.Tensor, *, num_groups: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the areas of unions of boxes inside windows.

    All terms of the sums are positive: the relative error is that of adding E numbers. Rows of
    padding come last in all sums, so the areas of an image do not depend on its padding.

    Args:
        boxes: float64 [..., N, 4], finite, not inverted, in any unit; boxes without area add 0.
        groups: int32 [..., N], 0..num_groups-1; rows of group num_groups are padding.
        windows: float64 [..., W, 4], finite, not inverted.
        num_groups: number of groups.

    Returns:
        float64 [..., W] of the union of all boxes, and [..., W, num_groups] of each group's union.
    """
    nowhere = tf.constant(math.inf, tf.float64)
    coordinates = _by_axis(tf.where((groups < num_groups)[..., tf.newaxis], boxes, nowhere))
    members = tf.concat([groups, groups], axis=-1)[..., tf.newaxis, :]
    members = tf.concat([members, members], axis=-2)  # [..., 2, E]
    order, strips, x_members = _arrange(coordinates, members)
    along_y = _length_in_y(order, strips[..., 0, :], windows)
    along_x = _overlaps(strips[..., 1, :], _ends_of(strips[..., 1, :]), windows[..., 1::2])
    areas_of_strips = along_y * along_x
    union = tf.reduce_sum(areas_of_strips[..., 0, :, :], axis=-1)
    belongs = tf.one_hot(x_members, num_groups, dtype=tf.float64)
    return union, tf.matmul(areas_of_strips[..., 1, :, :], belongs)


def _by_axis(boxes: tf.Tensor) -> tf.Tensor:
    """Return [..., N, 4] as [..., 2, E]: all y's, then all x's; N starts, then N ends each."""
    ymin, xmin, ymax, xmax = tf.unstack(boxes, num=4, axis=-1)
    return tf.stack([tf.concat([ymin, ymax], -1), tf.concat([xmin, xmax], -1)], axis=-2)


def _take(values: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    return tf.gather(values, order, batch_dims=order.shape.rank - 1)


def _arrange(coordinates: tf.Tensor, members: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the edges sorted by value, and sorted by group, then by value.

    Args:
        coordinates: [..., 2, E].
        members: int32 [..., 2, E], the group of each edge.

    Returns:
        order int32 [..., A, 2, E], the edge at each place; the coordinates in that order; and
        [..., E], the groups of the x's of the second arrangement.
    """
    by_value = tf.argsort(coordinates, stable=True)
    sorted_members = _take(members, by_value)
    by_group = tf.argsort(sorted_members, stable=True)
    values = _take(coordinates, by_value)
    order = tf.stack([by_value, _take(by_value, by_group)], axis=-3)
    strips = tf.stack([values, _take(values, by_group)], axis=-3)
    return order, strips, _take(sorted_members, by_group)[..., 1, :]


def _ends_of(strips: tf.Tensor) -> tf.Tensor:
    """Return where every strip [..., E] ends: where the next begins."""
    return tf.concat([strips[..., 1:], strips[..., -1:]], axis=-1)


def _overlaps(starts: tf.Tensor, ends: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """Return the length of every window on every strip, [..., A, W, R].

    Args:
        starts: starts of strips, [..., A, R]; the strip between two groups is never covered.
        ends: ends of strips, [..., A, R].
        sides: sides of windows, [..., W, 2], from and to.
    """
    low, high = tf.split(sides[..., tf.newaxis, :, :], 2, axis=-1)  # each [..., 1, W, 1]
    starts, ends = starts[..., tf.newaxis, :], ends[..., tf.newaxis, :]
    return tf.nn.relu(tf.minimum(ends, high) - tf.maximum(starts, low))


def _length_in_y(order: tf.Tensor, strips: tf.Tensor, windows: tf.Tensor) -> tf.Tensor:
    """Return the covered length in y of every window on every strip of x: float64 [..., A, W, E].

    Row i of `covered` starts or ends one box: from there on the x strips of that box are covered
    once more or once less. A group's rows end all boxes that they started, so groups are
    independent.

    Args:
        order: int32 [..., A, 2, E].
        strips: the y's in their order, [..., A, E].
        windows: float64 [..., W, 4].
    """
    edges = size(order, -1)
    places = tf.argsort(order[..., 1, :])  # Where each x stands, the inverse of the order.
    start_or_end = order[..., 0, :]
    is_end = tf.cast(start_or_end >= edges // 2, tf.int32)
    box = start_or_end - is_end * (edges // 2)
    firsts, lasts = _take(places, box), _take(places, box + edges // 2)
    changes = tf.cast(1 - 2 * is_end, tf.float32)
    ends = _ends_of(strips)
    strip = tf.range(edges)

    def block(start: Size, number: Size, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the length in the rows from `start` on, and the covers of x strips after them."""
        rows = slice(start, start + number)
        of_box = (firsts[..., rows, tf.newaxis] <= strip) & (strip < lasts[..., rows, tf.newaxis])
        change = changes[..., rows, tf.newaxis] * tf.cast(of_box, tf.float32)
        number = tf.shape(change)[-2]
        so_far = tf.linalg.band_part(tf.ones([number, number]), -1, 0)  # Adds up the rows above.
        counts = tf.matmul(so_far, change) + counts
        overlaps = _overlaps(strips[..., rows], ends[..., rows], windows[..., 0::2])
        length = tf.matmul(overlaps, tf.cast(counts > 0.5, tf.float64))
        return length, counts[..., -1:, :]

    lists = tf.size(order) // (2 * tf.maximum(edges, 1))
    if isinstance(edges, int) and order.shape.is_fully_defined():
        lists = order.shape.num_elements() // max(2 * edges, 1)
    return _sum_of_blocks(block, edges, _rows_of_a_block(lists, edges))


def _rows_of_a_block(lists: Size, edges: Size) -> Size:
    """Return R, so that R rows of `lists` matrices have at most the cells of a block."""
    if isinstance(lists, int) and isinstance(edges, int):
        return min(
            max(edges, 1), _ROWS_OF_A_BLOCK, max(16, _CELLS_OF_A_BLOCK // max(lists * edges, 1))
        )
    rows = tf.maximum(16, _CELLS_OF_A_BLOCK // tf.maximum(lists * edges, 1))
    return tf.minimum(tf.clip_by_value(edges, 1, _ROWS_OF_A_BLOCK), rows)


def _sum_of_blocks(block: Callable[..., tuple], edges: Size, rows: Size) -> tf.Tensor:
    """Return the sum of the lengths of block(0, R, 0), block(R, R, the covers so far), ..."""
    total, counts = block(0, rows, 0.0)
    if isinstance(rows, int) and isinstance(edges, int):
        for start in range(rows, edges, rows):
            length, counts = block(start, rows, counts)
            total += length
        return total

    def add_block(start: tf.Tensor, total: tf.Tensor, counts: tf.Tensor) -> tuple:
        length, counts = block(start, rows, counts)
        return start + rows, total + length, counts

    _, total, _ = tf.while_loop(
        lambda start, *_: start < edges,
        add_block,
        (rows, total, counts),
        parallel_iterations=1,
    )
    return total
