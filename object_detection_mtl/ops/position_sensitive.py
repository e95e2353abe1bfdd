"""Position-sensitive regions of interest (Dai et al. 2016, R-FCN, arXiv:1605.06409, section 3).

A box is cut into I x J bins, and every bin reads channels of its own: a map has I * J groups of C
channels, bin (i, j) reads group i * J + j. Within a bin the map is sampled bilinearly; pooling is
the mean over all samples of all bins.

Shape letters: B batch, P boxes per image, h w the map, I J bins, s t samples of a bin, C channels.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.ops import roi


def bin_weights(
    boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int], map_shape: tf.Tensor
) -> tf.Tensor:
    """How much each cell of the map counts in each bin: [B, I * J, P, h * w].

    A row holds the mean of its bin's bilinear samples, so it sums to 1 for a box on the map.
    Pooling is a matrix product with them, whose gradient is one too: exact, and the same every
    time. (They are mostly zeros, but no sparse product was faster.) Every map that is pooled for
    the same boxes shares them.

    Args:
        boxes: [B, P, 4] in [0, 1] of the map, as `roi.crop_and_resize` counts.
        crop_size: samples per box, s * I and t * J.
        num_bins: I and J.
        map_shape: of the maps, [4] or longer; only h and w are read.
    """
    boxes = tf.stop_gradient(boxes)
    rows, columns = (
        tf.reduce_mean(weights, axis=3)
        for weights in _sample_weights(boxes, crop_size, num_bins, map_shape)
    )
    # Each bin's rows and columns, [B, I * J, P, h or w]: TensorFlow does not multiply six axes.
    rows = tf.repeat(tf.transpose(rows, [0, 2, 1, 3]), num_bins[1], axis=1)
    columns = tf.tile(tf.transpose(columns, [0, 2, 1, 3]), [1, num_bins[0], 1, 1])
    batch, number = tf.unstack(tf.shape(boxes)[:2])
    weights = rows[..., tf.newaxis] * tf.expand_dims(columns, -2)
    num_cells = map_shape[1] * map_shape[2]
    return tf.reshape(weights, [batch, num_bins[0] * num_bins[1], number, num_cells])


def pool(maps: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Mean over all bins: maps [B, h, w, I * J * C] and `bin_weights` -> [B, P, C]."""
    bins, channels = weights.shape[1], maps.shape[-1]
    if channels % bins:
        raise ValueError(f"{channels} channels of a map cannot be shared by {bins} bins")
    shape = tf.shape(maps)
    groups = tf.reshape(maps, [shape[0], shape[1] * shape[2], bins, channels // bins])
    pooled = tf.matmul(weights, tf.transpose(groups, [0, 2, 1, 3]))
    return tf.reduce_mean(pooled, axis=1)


def crop(
    maps: tf.Tensor, boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int]
) -> tf.Tensor:
    """The samples that `pool` averages, in their place: [B, P, s * I, t * J, C]."""
    shape = tf.shape(maps)
    channels = maps.shape[-1] // (num_bins[0] * num_bins[1])
    rows, columns = _sample_weights(tf.stop_gradient(boxes), crop_size, num_bins, shape)
    groups = tf.reshape(maps, [*tf.unstack(shape[:3]), *num_bins, channels])
    samples = tf.einsum("bpisy,bpjtx,byxijc->bpisjtc", rows, columns, groups)
    return tf.reshape(samples, [*tf.unstack(tf.shape(boxes)[:2]), *crop_size, channels])


def _sample_weights(
    boxes: tf.Tensor, crop_size: tuple[int, int], num_bins: tuple[int, int], map_shape: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The weight of each row [B, P, I, s, h] and column [B, P, J, t, w] in each sample."""
    check_bins(crop_size, num_bins)
    weights = []
    for axis in range(2):
        bins, samples = num_bins[axis], crop_size[axis] // num_bins[axis]
        start, end = boxes[..., axis, tf.newaxis], boxes[..., axis + 2, tf.newaxis]
        # Not a division: TensorFlow 1 replaced it so, and rounding decides about border samples.
        step = (end - start) * (1.0 / bins)
        edges = start + tf.range(bins + 1, dtype=tf.float32) * step
        size = map_shape[1 + axis]
        cells, shares = roi.linear_samples(edges[..., :-1], edges[..., 1:], samples, size)
        spread = tf.one_hot(cells, size) * shares[..., tf.newaxis]
        weights.append(tf.reduce_sum(spread, axis=-2))
    return weights[0], weights[1]


def check_bins(crop_size: tuple[int, int], num_bins: tuple[int, int]) -> None:
    """Raises ValueError unless every bin gets the same number of samples, at least one."""
    for axis, side in enumerate(("height", "width")):
        crop_side, bins = crop_size[axis], num_bins[axis]
        if bins < 1 or crop_side < 1 or crop_side % bins:
            raise ValueError(
                f"crop_{side} is {crop_side} and num_spatial_bins_{side} is {bins}; "
                "expected a multiple, of at least one bin"
            )
