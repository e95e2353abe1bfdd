"""Position-sensitive crop and pooling: the OD API's cases, hand-worked ones, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.ops import lowering, position_sensitive, roi
from tests.golden import ops_cases
from tests.ops.graphs import call_with_unknown_sizes

CASES = ops_cases.cases("position_sensitive_crop_regions")
# The cases come in pairs: for static shapes the OD API crops by matrix products, which fade to 0
# over one cell beyond the map; for dynamic ones by `tf.image.crop_and_resize`, 0 at once.
FADING, CUTTING = CASES[::2], CASES[1::2]


def pool(maps, boxes, crop_size, num_bins):
    maps, boxes = tf.convert_to_tensor(maps), tf.convert_to_tensor(boxes)
    weights = position_sensitive.bin_weights(boxes, crop_size, num_bins, tf.shape(maps))
    return position_sensitive.pool(maps, weights)


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def check_case(case, maps, boxes):
    function = pool if case.params["global_pool"] else position_sensitive.crop
    size, bins = tuple(case.params["crop_size"]), tuple(case.params["num_spatial_bins"])
    actual = function(maps[np.newaxis], boxes[np.newaxis], size, bins)
    check(np.reshape(actual, case.expected["out"].shape), case.expected["out"])


@ops_cases.with_cases(CUTTING)
def test_golden(case):
    check_case(case, case.inputs["image"], case.inputs["boxes"])


@ops_cases.with_cases(FADING)
def test_golden_fading_beyond_the_map(case):
    """To fade to 0 is to sample a map with a border of zeros."""
    maps, boxes = case.inputs["image"], case.inputs["boxes"]
    last = np.array(maps.shape[:2] * 2, np.float32) - 1
    border = 4
    on_bordered = (boxes * last + border) / (last + 2 * border)
    bordered = np.pad(maps, [[border, border], [border, border], [0, 0]])
    check_case(case, bordered, on_bordered.astype(np.float32))


def test_pooling_by_hand():
    """Two bins side by side: the left reads channel 0, the right channel 1, in their halves."""
    maps = tf.constant([[[[0.0, 100.0], [1.0, 101.0], [2.0, 102.0], [3.0, 103.0], [4.0, 104.0]]]])
    whole = [0.0, 0.0, 0.0, 1.0]  # samples 0, 1, 2 of the left bin and 2, 3, 4 of the right
    middle = [0.0, 0.25, 0.0, 0.75]  # 1, 1.5, 2 and 2, 2.5, 3
    pooled = pool(maps, [[whole, middle]], (1, 6), (1, 2))
    check(pooled, [[[(1.0 + 103.0) / 2], [(1.5 + 102.5) / 2]]])


def test_one_sample_per_bin_is_its_center():
    maps = tf.constant([[[[0.0, 100.0], [1.0, 101.0], [2.0, 102.0], [3.0, 103.0], [4.0, 104.0]]]])
    check(pool(maps, [[[0.0, 0.0, 0.0, 1.0]]], (1, 2), (1, 2)), [[[(1.0 + 103.0) / 2]]])


def test_pooling_is_the_mean_of_the_crop_and_of_crops_bin_by_bin():
    random = np.random.RandomState(0)
    maps = tf.constant(random.standard_normal((2, 7, 9, 12)), tf.float32)
    boxes = tf.constant([[[0.1, 0.2, 0.7, 0.9], [0, 0, 1, 0.5]]] * 2, tf.float32)
    pooled = pool(maps, boxes, (4, 9), (2, 3))
    crop = position_sensitive.crop(maps, boxes, (4, 9), (2, 3))
    check(pooled, tf.reduce_mean(crop, axis=[2, 3]))
    total = np.zeros((2, 2, 2))
    for i, j in np.ndindex(2, 3):
        size = (boxes[..., 2:] - boxes[..., :2]) / [2.0, 3.0]
        corner = boxes[..., :2] + size * [float(i), float(j)]
        group = maps[..., (i * 3 + j) * 2 : (i * 3 + j + 1) * 2]
        samples = roi.crop_and_resize(group, tf.concat([corner, corner + size], axis=-1), (2, 3))
        total += np.reshape(tf.reduce_mean(samples, axis=[1, 2]), (2, 2, 2))
    check(pooled, total / 6)


def test_every_box_reads_its_own_image():
    maps = tf.concat([tf.ones([1, 3, 3, 4]), 5 * tf.ones([1, 3, 3, 4])], axis=0)
    boxes = np.tile(np.float32([0, 0, 1, 1]), [2, 3, 1])
    pooled = call_with_unknown_sizes(lambda m, b: pool(m, b, (2, 2), (2, 2)), maps, boxes)
    check(pooled[..., 0], [[1, 1, 1], [5, 5, 5]])


def test_a_box_outside_the_map_reads_nothing_and_one_without_area_its_place():
    maps = tf.ones([1, 3, 3, 4])
    boxes = tf.constant([[[2.0, 2, 3, 3], [0, 0, 0, 0], [0.3, 0.3, 0.3, 0.3]]])
    check(pool(maps, boxes, (4, 4), (2, 2))[0, :, 0], [0, 1, 1])


@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 3, 4)])
def test_no_box(shape):
    pooled = pool(tf.ones([shape[0], 3, 3, 8]), tf.zeros(shape), (2, 2), (2, 2))
    assert pooled.shape == (*shape[:2], 2)


def test_no_box_has_no_gradient():
    maps = tf.ones([2, 3, 3, 8])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        pooled = pool(maps, tf.zeros([2, 0, 4]), (2, 2), (2, 2))
    np.testing.assert_array_equal(tape.gradient(pooled, maps), np.zeros_like(maps))


def test_gradient_equals_that_of_crops_bin_by_bin_and_is_the_same_every_time():
    random = np.random.RandomState(0)
    maps = tf.constant(random.standard_normal((2, 6, 7, 4 * 8)), tf.float32)
    corners = np.sort(random.uniform(0, 1, (2, 100, 2, 2)), axis=2)
    boxes = tf.constant(corners.reshape(2, 100, 4), tf.float32)
    upstream = tf.constant(random.standard_normal((2, 100, 8)), tf.float32)
    gradients = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch([maps, boxes])
            pooled = pool(maps, boxes, (6, 6), (2, 2))
        towards_maps, towards_boxes = tape.gradient(pooled, [maps, boxes], upstream)
        assert towards_boxes is None
        gradients.append(towards_maps.numpy())
    np.testing.assert_array_equal(*gradients)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        mean = tf.reduce_mean(position_sensitive.crop(maps, boxes, (6, 6), (2, 2)), axis=[2, 3])
    check(gradients[0], tape.gradient(mean, maps, upstream))


def pool_traced_for_xla(*args):
    with lowering.for_xla():
        return pool(*args)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_without_sparse_products_pooling_is_the_same(jit_compile):
    random = np.random.RandomState(0)
    maps = tf.constant(random.standard_normal((2, 6, 7, 6 * 5)), tf.float32)
    corners = np.sort(random.uniform(-0.1, 1.1, (2, 9, 2, 2)), axis=2)
    boxes = tf.constant(corners.reshape(2, 9, 4), tf.float32)

    def both(function):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            pooled = function(maps, boxes, (6, 9), (2, 3))
            loss = tf.reduce_sum(tf.sin(pooled))
        return pooled, tape.gradient(loss, maps)

    compiled = tf.function(
        lambda: both(pool_traced_for_xla), jit_compile=jit_compile, autograph=False
    )
    for actual, expected in zip(compiled(), both(pool), strict=True):
        check(actual, expected)


def test_weights_of_some_boxes():
    random = np.random.RandomState(0)
    maps = tf.constant(random.standard_normal((2, 6, 7, 4 * 3)), tf.float32)
    corners = np.sort(random.uniform(0, 1, (2, 5, 2, 2)), axis=2)
    boxes = tf.constant(corners.reshape(2, 5, 4), tf.float32)
    weights = position_sensitive.bin_weights(boxes, (4, 4), (2, 2), tf.shape(maps))
    chosen = tf.constant([[4, 0, 0], [2, 3, 1]])
    actual = position_sensitive.pool(maps, weights.gather(chosen))
    check(actual, tf.gather(position_sensitive.pool(maps, weights), chosen, batch_dims=1))


@pytest.mark.parametrize(
    ("crop_size", "num_bins", "words"),
    [
        ((18, 17), (3, 3), "crop_width is 17 and num_spatial_bins_width is 3"),
        ((2, 3), (3, 3), "crop_height is 2"),
        ((0, 3), (3, 3), "crop_height is 0"),
        ((3, 3), (3, 0), "num_spatial_bins_width is 0"),
    ],
)
def test_bins_must_divide_the_crop(crop_size, num_bins, words):
    with pytest.raises(ValueError, match=words):
        pool(tf.ones([1, 3, 3, 9]), tf.zeros([1, 1, 4]), crop_size, num_bins)


def test_channels_must_divide_into_bins():
    with pytest.raises(ValueError, match="10 channels of a map cannot be divided among 9 bins"):
        pool(tf.ones([1, 3, 3, 10]), tf.zeros([1, 1, 4]), (3, 3), (3, 3))
