import functools
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.data import image_resizing
from tests.golden.ops_cases import each_case

with np.load(Path(__file__).parents[1] / "golden" / "resizer_tf1.npz") as _arrays:
    TF1 = dict(_arrays)
TF1_PIXELS = [key for key in TF1 if not key.endswith("_shape")]


def check(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def from_text(config):
    """The resizer of a config's text, with the OD API's sampling."""
    options = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", config)}
    if method := re.search(r"resize_method: (\w+)", config):
        options["method"] = method.group(1)
    if "pad_to_max_dimension: true" in config:
        options["pad_to_max_dimension"] = True
    function = (
        image_resizing.fixed_shape if "fixed_shape" in config else image_resizing.keep_aspect_ratio
    )
    return functools.partial(function, **options, half_pixel_centers=False)


@each_case("image_resizer_shapes")
def test_static_sizes_golden(case):
    """In a graph of images of static sizes both shapes are static; nothing is computed here."""
    resizer = from_text(case.params["config"])
    images = [tf.TensorSpec([*size, 3]) for size in case.inputs["sizes"]]
    graph = tf.function(lambda *images: [resizer(image) for image in images], autograph=False)
    results = graph.get_concrete_function(*images).graph.structured_outputs
    for (resized, shape), output_shape, true_shape in zip(
        results, *case.expected.values(), strict=True
    ):
        assert resized.shape == tuple(output_shape)
        assert tf.get_static_value(shape).tolist() == true_shape.tolist()


@each_case("image_resizer_shapes")
def test_sizes_of_images_of_unknown_size_golden(case):
    resizer = from_text(case.params["config"])
    graph = tf.function(resizer, input_signature=[tf.TensorSpec([None, None, 1])], autograph=False)
    for (height, width), output_shape, true_shape in zip(
        case.inputs["sizes"], *case.expected.values(), strict=True
    ):
        resized, shape = graph(tf.zeros([height, width, 1]))
        assert resized.shape == (*output_shape[:2], 1)
        assert shape.numpy().tolist() == [*true_shape[:2], 1]


@each_case("image_resizer_pixels")
def test_pixels_golden(case):
    resized, shape = from_text(case.params["config"])(case.inputs["image"])
    check(resized, case.expected["image"])
    assert shape.dtype == tf.int32
    assert shape.numpy().tolist() == case.expected["true_image_shape"].tolist()


def authors_resizer(key):
    """The authors' resizer of a recorded case and the size of its image."""
    smallest, largest, height, width = map(int, re.findall(r"\d+", key)[:4])
    resizer = functools.partial(
        image_resizing.keep_aspect_ratio,
        min_dimension=smallest,
        max_dimension=largest,
        half_pixel_centers=False,
    )
    return resizer, height, width


@pytest.mark.golden
@pytest.mark.parametrize("key", [key for key in TF1 if key.endswith("_shape")])
def test_sizes_of_the_authors_code(key):
    resizer, height, width = authors_resizer(key)
    graph = tf.function(resizer, autograph=False).get_concrete_function(
        tf.TensorSpec([1, height, width, 3])
    )
    assert graph.structured_outputs[0].shape == tuple(TF1[key])


@pytest.mark.golden
@pytest.mark.parametrize("key", TF1_PIXELS)
def test_pixels_of_the_authors_code(key):
    resizer, height, width = authors_resizer(key)
    image = np.random.RandomState(height * 1000 + width).randint(0, 256, (1, height, width, 3))
    resized, _ = resizer(image.astype(np.uint8))
    normalised = resized.numpy() * (2 / 255) - 1
    if key.endswith("_stride16"):
        normalised = normalised[:, ::16, ::16]
    check(normalised, TF1[key])


ROW = tf.constant([[[0.0], [10], [20], [30]]])  # one row of four pixels


def test_the_two_conventions_by_hand():
    """Four pixels to two: samples at 0 and 2, or at the middles 0.5 and 2.5 of the new cells."""
    old, _ = image_resizing.fixed_shape(ROW, height=1, width=2, half_pixel_centers=False)
    check(old[0, :, 0], [0, 20])
    new, _ = image_resizing.fixed_shape(ROW, height=1, width=2, half_pixel_centers=True)
    check(new[0, :, 0], [5, 25])


@pytest.mark.parametrize(
    ("method", "half_pixel_centers", "expected"),
    [
        ("BILINEAR", False, [0, 5, 10, 15, 20, 25, 30, 30]),
        ("BILINEAR", True, [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30]),
        ("NEAREST_NEIGHBOR", False, [0, 0, 10, 10, 20, 20, 30, 30]),
        ("NEAREST_NEIGHBOR", True, [0, 0, 10, 10, 20, 20, 30, 30]),
        ("AREA", False, [0, 0, 10, 10, 20, 20, 30, 30]),
        ("AREA", True, [0, 0, 10, 10, 20, 20, 30, 30]),
    ],
)
def test_methods_by_hand(method, half_pixel_centers, expected):
    resized, _ = image_resizing.fixed_shape(
        ROW, height=1, width=8, method=method, half_pixel_centers=half_pixel_centers
    )
    check(resized[0, :, 0], expected)


def test_bicubic_keeps_a_constant():
    resized, _ = image_resizing.fixed_shape(
        tf.fill([5, 4, 2], 7.0), height=9, width=3, method="BICUBIC", half_pixel_centers=True
    )
    check(resized, np.full([9, 3, 2], 7))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((25, 50), (10, 20)),
        ((50, 25), (20, 10)),
        ((10, 10), (10, 10)),
        ((1, 1), (10, 10)),
        ((20, 300), (1, 20)),
        ((1, 10_000), (1, 20)),  # 0.002 rows would be none
    ],
)
def test_keep_aspect_ratio_by_hand(size, expected):
    resized, shape = image_resizing.keep_aspect_ratio(
        tf.zeros([*size, 3]), min_dimension=10, max_dimension=20, half_pixel_centers=True
    )
    assert resized.shape == (*expected, 3)
    assert shape.numpy().tolist() == [*expected, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([(600, 1024), (5, 9), (7, 7)]))
def test_both_size_rules_agree_and_keep_within_limits(height, width, limits):
    """The rule has one form for known and one for unknown sizes."""
    known = image_resizing.size_within((height, width), *limits)
    unknown = image_resizing.size_within(tf.constant([height, width]), *limits)
    assert unknown.numpy().tolist() == list(known)
    assert 1 <= min(known) <= limits[0]
    assert max(known) <= limits[1]
    assert min(known) == limits[0] or max(known) == limits[1]


def test_padding():
    image = tf.ones([4, 8, 3])
    options = {"min_dimension": 2, "max_dimension": 5, "half_pixel_centers": False}
    padded, shape = image_resizing.keep_aspect_ratio(image, pad_to_max_dimension=True, **options)
    assert shape.numpy().tolist() == [2, 4, 3]
    expected = np.zeros([5, 5, 3])
    expected[:2, :4] = 1
    check(padded, expected)
    expected[:] = [7, 0, 9]
    expected[:2, :4] = 1
    padded, _ = image_resizing.keep_aspect_ratio(
        image, pad_to_max_dimension=True, per_channel_pad_value=(7, 0, 9), **options
    )
    check(padded, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_dtypes(dtype):
    image = np.arange(24).reshape(2, 4, 3).astype(dtype)
    for resized, _ in (
        image_resizing.identity(image),
        image_resizing.fixed_shape(image, height=2, width=4, half_pixel_centers=False),
        image_resizing.keep_aspect_ratio(
            image, min_dimension=2, max_dimension=4, half_pixel_centers=True
        ),
        image_resizing.fixed_shape(
            image, height=2, width=4, method="NEAREST_NEIGHBOR", half_pixel_centers=True
        ),
    ):
        assert resized.dtype == tf.float32
        np.testing.assert_array_equal(resized, image)


def test_a_batch_is_its_images_one_by_one():
    rng = np.random.RandomState(0)
    images = rng.randint(0, 256, (2, 9, 14, 3)).astype(np.uint8)
    resizers = [
        image_resizing.identity,
        functools.partial(image_resizing.fixed_shape, height=5, width=6, half_pixel_centers=False),
        functools.partial(
            image_resizing.keep_aspect_ratio,
            min_dimension=6,
            max_dimension=8,
            pad_to_max_dimension=True,
            half_pixel_centers=True,
            per_channel_pad_value=(1, 2, 3),
        ),
    ]
    for resizer in resizers:
        resized, shapes = resizer(images)
        graph = tf.function(
            resizer, input_signature=[tf.TensorSpec([None] * 3 + [3], tf.uint8)], autograph=False
        )
        for batch, batch_shapes in ((resized, shapes), graph(images)):
            assert batch_shapes.shape == (2, 3)
            for index in range(2):
                one, shape = resizer(images[index])
                check(batch[index], one)
                np.testing.assert_array_equal(batch_shapes[index], shape)


def test_no_image():
    resized, shapes = image_resizing.fixed_shape(
        tf.zeros([0, 5, 5, 3]), height=4, width=6, half_pixel_centers=False
    )
    assert resized.shape == (0, 4, 6, 3)
    assert shapes.shape == (0, 3)


def test_inside_a_dataset():
    images = tf.data.Dataset.from_generator(
        lambda: (np.ones([size, 10, 3], np.uint8) for size in (5, 20)),
        output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    resizer = functools.partial(
        image_resizing.keep_aspect_ratio, min_dimension=4, max_dimension=6, half_pixel_centers=False
    )
    assert [shape.tolist() for _, shape in images.map(resizer).as_numpy_iterator()] == [
        [3, 6, 3],
        [6, 3, 3],
    ]


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (
            image_resizing.keep_aspect_ratio,
            {"min_dimension": 9, "max_dimension": 8},
            "min_dimension is 9",
        ),
        (
            image_resizing.keep_aspect_ratio,
            {"min_dimension": 0, "max_dimension": 8},
            "min_dimension is 0",
        ),
        (image_resizing.fixed_shape, {"height": 0, "width": 8}, "height is 0"),
        (
            image_resizing.fixed_shape,
            {"height": 8, "width": 8, "method": "LANCZOS"},
            "'LANCZOS'.*AREA",
        ),
        (
            image_resizing.keep_aspect_ratio,
            {
                "min_dimension": 4,
                "max_dimension": 8,
                "pad_to_max_dimension": True,
                "per_channel_pad_value": (1, 2),
            },
            r"per_channel_pad_value is \(1, 2\)",
        ),
    ],
)
def test_wrong_arguments(function, options, words):
    with pytest.raises(ValueError, match=words):
        function(tf.zeros([2, 2, 3]), half_pixel_centers=False, **options)
