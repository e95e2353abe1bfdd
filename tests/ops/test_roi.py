import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.ops import lowering, roi
from tests.golden.ops_cases import each_case
from tests.ops.graphs import call_with_unknown_sizes


def compiled_crop(features, boxes, crop_size):
    """`crop_and_resize` by XLA."""

    @tf.function(jit_compile=True, autograph=False)
    def crop(features, boxes):
        with lowering.for_xla():
            return roi.crop_and_resize(features, boxes, crop_size)

    return crop(tf.convert_to_tensor(features), tf.convert_to_tensor(boxes))


def traced_for_xla(features, boxes, crop_size):
    """The same operations without XLA, which would be compiled again for every shape."""
    with lowering.for_xla():
        return roi.crop_and_resize(tf.convert_to_tensor(features), boxes, crop_size)


BOTH = pytest.mark.parametrize("crop", [roi.crop_and_resize, traced_for_xla])
# Value 10 y + x at cell (y, x): linear, so bilinear samples are exact.
RAMP = tf.constant(
    (10 * np.arange(5.0)[:, np.newaxis] + np.arange(4.0))[np.newaxis, ..., np.newaxis], tf.float32
)


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("crop", [roi.crop_and_resize, traced_for_xla, compiled_crop])
@each_case("crop_and_resize")
def test_crop_golden(case, crop):
    crops = crop(case.inputs["image"], tf.constant(case.inputs["boxes"]), case.params["crop_size"])
    check(crops, case.expected["out"][0])


@BOTH
@each_case("matmul_crop_and_resize")
def test_matmul_crop_golden(case, crop):
    """The OD API's other form: the same on the map; beyond it, it fades to 0 over one cell."""
    image, boxes = case.inputs["image"], tf.constant(case.inputs["boxes"])
    crops = crop(image, boxes, case.params["crop_size"]).numpy()
    on_map = crop(np.ones_like(image), boxes, case.params["crop_size"]).numpy() > 0
    assert 0.5 < on_map.mean() < 1
    check(crops[on_map], case.expected["out"][0][on_map])
    check(crops[~on_map], 0)


@each_case("crop_and_resize_maxpool")
def test_crop_and_max_pool_golden(case):
    params = case.params
    pooled = roi.crop_and_max_pool(
        case.inputs["image"],
        tf.constant(case.inputs["boxes"]),
        params["crop_size"],
        params["maxpool_kernel"],
        params["maxpool_stride"],
    )
    check(pooled, case.expected["out"])


@BOTH
def test_by_hand(crop):
    """The whole map at its own size; the middle; upside down."""
    boxes = tf.constant([[[0.0, 0, 1, 1], [0.25, 0, 0.75, 1], [1, 1, 0, 0]]])
    whole, middle, flipped = tf.unstack(crop(RAMP, boxes, (5, 4)))
    check(whole, RAMP[0])
    check(middle[..., 0], 10 * np.linspace(1, 3, 5)[:, np.newaxis] + np.arange(4))
    check(flipped, RAMP[0, ::-1, ::-1])


@BOTH
def test_a_crop_of_one_is_the_center(crop):
    check(
        crop(RAMP, tf.constant([[[0.0, 0, 1, 1], [0.5, 0, 1, 1]]]), (1, 1)),
        [[[[21.5]]], [[[31.5]]]],
    )


@BOTH
def test_beyond_the_border(crop):
    """Samples at x = 3, 4.5 and 6 of 0..3: the last cell, then nothing."""
    ones = tf.ones([1, 4, 4, 1])
    check(crop(ones, tf.constant([[[0.0, 1, 1, 2]]]), (1, 3))[0, 0, :, 0], [1, 0, 0])
    near = tf.constant([[[0.0, 1, 1, 1 + 1 / 6]]])  # x = 3 and 3.5
    check(crop(ones, near, (1, 2))[0, 0, :, 0], [1, 0])


@BOTH
def test_every_box_reads_its_own_image(crop):
    features = tf.concat([tf.ones([1, 3, 3, 2]), 5 * tf.ones([1, 3, 3, 2])], axis=0)
    boxes = np.tile(np.float32([0, 0, 1, 1]), [2, 3, 1])
    crops = call_with_unknown_sizes(lambda f, b: crop(f, b, (2, 2)), features, boxes)
    assert crops.shape == (6, 2, 2, 2)
    check(crops[:, 0, 0, 0], [1, 1, 1, 5, 5, 5])


@BOTH
@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 3, 4)])
def test_no_box(crop, shape):
    assert crop(tf.ones([shape[0], 3, 3, 2]), tf.zeros(shape), (2, 2)).shape == (0, 2, 2, 2)


def test_static_shape_in_a_graph():
    @tf.function(autograph=False)
    def run(features, boxes):
        pooled = roi.crop_and_max_pool(features, boxes, (6, 4), 2, 2)
        assert pooled.shape == (2 * 7, 3, 2, 5)
        return pooled

    run(tf.zeros([2, 3, 3, 5]), tf.zeros([2, 7, 4]))


def test_pooling():
    boxes = tf.constant([[[0.0, 0, 1, 1]]])
    pooled = roi.crop_and_max_pool(RAMP, boxes, (5, 4), 2, 2)
    check(pooled[0, ..., 0], [[11, 13], [31, 33]])  # the fifth row finds no partner
    pooled = roi.crop_and_max_pool(RAMP, boxes, (5, 4), 1, 1)
    check(pooled[0], RAMP[0])


@BOTH
def test_gradients_are_finite_and_reach_the_features(crop):
    boxes = tf.constant([[[0.0, 0, 1, 1], [0.3, 0.3, 0.3, 0.3], [2, 2, 3, 3], [0, 0, 0, 0]]])
    with tf.GradientTape() as tape:
        tape.watch(RAMP)
        total = tf.reduce_sum(crop(RAMP, boxes, (3, 3)))
    gradient = tape.gradient(total, RAMP).numpy()
    assert np.isfinite(gradient).all()
    # 9 samples of weight 1 from each box but the one outside.
    check(gradient.sum(), 27)


def dense_crop(features, boxes, crop_size):
    """Two matrix products with the weight of every cell in every sample; boxes on the map."""

    def weights(start, end, num_samples, num_cells):
        steps = np.linspace(0.0, 1.0, num_samples) if num_samples > 1 else np.array([0.5])
        samples = (start + (end - start) * steps) * (num_cells - 1)
        return tf.nn.relu(1.0 - tf.abs(samples[..., tf.newaxis] - np.arange(num_cells)))

    edges = tf.unstack(tf.cast(boxes, tf.float64)[..., tf.newaxis], axis=2)
    rows = weights(edges[0], edges[2], crop_size[0], features.shape[1])
    columns = weights(edges[1], edges[3], crop_size[1], features.shape[2])
    crops = tf.einsum("bpyh,bpxw,bhwc->bpyxc", rows, columns, tf.cast(features, tf.float64))
    return tf.cast(tf.reshape(crops, [-1, *crop_size, features.shape[-1]]), tf.float32)


def features_gradient(crop, features, boxes, crop_size, upstream):
    with tf.GradientTape() as tape:
        tape.watch(features)
        crops = crop(features, boxes, crop_size)
    return tape.gradient(crops, features, upstream).numpy()


@BOTH
def test_gradient_by_hand(crop):
    """A sample a quarter of the way from cell 0 to cell 1 gives them 3/4 and 1/4; outside, none."""
    features = tf.zeros([1, 3, 5, 1])
    boxes = tf.constant([[[0.0, 1 / 16, 0.0, 1 / 16], [0.5, 0.5, 0.5, 2.0]]])
    upstream = tf.constant([1.0, 1.0, 10.0, 100.0])[:, tf.newaxis]
    actual = features_gradient(crop, features, boxes, (1, 2), tf.reshape(upstream, [2, 1, 2, 1]))
    expected = np.zeros([3, 5])
    expected[0, :2] = 2 * np.array([0.75, 0.25])
    expected[1, 2] = 10.0  # the other sample lies at twice the map's width
    check(actual[0, ..., 0], expected)


@pytest.mark.parametrize("crop", [roi.crop_and_resize, traced_for_xla, compiled_crop])
@pytest.mark.parametrize("crop_size", [(14, 14), (1, 3)])
def test_gradient_of_crops_that_overlap(crop_size, crop):
    """Many crops of the same cells: each counts, every time. TensorFlow's own kernel loses some."""
    random = np.random.RandomState(0)
    features = tf.constant(random.standard_normal((2, 6, 7, 32)), tf.float32)
    corners = np.sort(random.uniform(0, 1, (2, 100, 2, 2)), axis=2)
    boxes = tf.constant(corners.reshape(2, 100, 4), tf.float32)
    upstream = tf.constant(random.standard_normal((200, *crop_size, 32)), tf.float32)
    expected = features_gradient(dense_crop, features, boxes, crop_size, upstream)
    for _ in range(3):
        actual = features_gradient(crop, features, boxes, crop_size, upstream)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)


def test_gradient_in_a_graph_of_unknown_sizes():
    def gradient(features, boxes):
        return tf.gradients(roi.crop_and_resize(features, boxes, (2, 2)), features)[0]

    boxes = tf.constant([[[0.0, 0, 1, 1]]])
    actual = call_with_unknown_sizes(gradient, RAMP, boxes)
    assert actual.shape == RAMP.shape
    check(actual.numpy().sum(), 4.0)


def test_no_crop_no_gradient():
    features = tf.ones([2, 3, 3, 4])
    actual = features_gradient(
        roi.crop_and_resize, features, tf.zeros([2, 0, 4]), (2, 2), tf.zeros([0, 2, 2, 4])
    )
    check(actual, np.zeros([2, 3, 3, 4]))
