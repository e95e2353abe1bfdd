"""Errors of a SavedModel for invalid input; unusual images."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.export import exported

INVALID = tf.errors.InvalidArgumentError
IMAGE, FLOAT, ENCODED, EXAMPLE = (
    *("image_tensor", "float_image_tensor"),
    *("encoded_image_string_tensor", "tf_example"),
)


def serve(input_type, value):
    return exported.loaded(input_type).signatures["serving_default"](input_tensor=value)


def jpeg():
    return (exported.images() / "a.jpg").read_bytes()


def encode(image, format_name, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: [b"no image"], "Unknown image file format. One of JPEG, PNG, GIF, BMP, WebP"),
        (lambda: [b""], "Input is empty"),
        (lambda: [jpeg()[:300]], "Invalid JPEG data"),
        (lambda: [(exported.images() / "b.png").read_bytes()[:200]], "Invalid PNG data"),
        (lambda: [jpeg(), b"no image"], "Unknown image file format"),
        (lambda: tf.constant([], tf.string), "the batch is empty; send at least one"),
        (lambda: jpeg(), r"input_tensor \[\] is not compatible with expected shape \[\?\]"),
        (lambda: [[jpeg()]], r"input_tensor \[1,1\] is not compatible with expected shape \[\?\]"),
        (lambda: np.zeros([1, 8, 8, 3], np.uint8), "expected to be a string tensor but is a uint8"),
    ],
)
def test_unreadable_files_are_an_error(make, words):
    with pytest.raises(INVALID, match=words):
        serve(ENCODED, tf.constant(make()))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"", "image/encoded .* is required but could not be found"),
        (b"no record", "Could not parse example input, value: .no record."),
    ],
)
def test_records_without_an_image(record, words):
    with pytest.raises(INVALID, match=words):
        serve(EXAMPLE, tf.constant([record]))


@pytest.mark.parametrize(
    ("input_type", "shape", "words"),
    [
        (IMAGE, [8, 8, 3], r"input_tensor \[8,8,3\] .* expected shape \[1,\?,\?,3\]"),
        (IMAGE, [2, 8, 8, 3], r"input_tensor \[2,8,8,3\] .* expected shape \[1,\?,\?,3\]"),
        (IMAGE, [1, 8, 8, 4], r"input_tensor \[1,8,8,4\] .* expected shape \[1,\?,\?,3\]"),
        (IMAGE, [1, 0, 8, 3], "input image must be of non-zero size"),
        (FLOAT, [8, 8, 3], r"input_tensor \[8,8,3\] .* expected shape \[\?,\?,\?,3\]"),
        (FLOAT, [1, 8, 8, 1], r"input_tensor \[1,8,8,1\] .* expected shape \[\?,\?,\?,3\]"),
        (FLOAT, [0, 8, 8, 3], "the batch is empty; send at least one"),
    ],
)
def test_arrays_of_another_shape(input_type, shape, words):
    dtype = tf.uint8 if input_type == IMAGE else tf.float32
    with pytest.raises(INVALID, match=words):
        serve(input_type, tf.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("input_type", "dtype", "words"),
    [
        (IMAGE, tf.float32, "expected to be a uint8 tensor but is a float"),
        (FLOAT, tf.uint8, "expected to be a float tensor but is a uint8"),
    ],
)
def test_arrays_of_another_type(input_type, dtype, words):
    with pytest.raises(INVALID, match=words):
        serve(input_type, tf.zeros([1, 8, 8, 3], dtype))


def test_unusual_images_in_one_batch():
    """Each gives the detections of its array."""
    random = np.random.RandomState(3)
    rgb = Image.fromarray(random.randint(0, 256, (40, 50, 3)).astype(np.uint8))
    deep = Image.fromarray(random.randint(0, 2**16, (40, 50)).astype(np.uint16))
    files = [
        encode(rgb.convert("L"), "PNG"),
        encode(rgb.convert("RGBA"), "PNG"),
        encode(rgb.convert("CMYK"), "JPEG"),
        encode(deep, "PNG"),
        encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(90)]),
        encode(rgb, "WEBP", lossless=True),
    ]
    together = serve(ENCODED, tf.constant(files))
    for place, file in enumerate(files):
        array = tf.io.decode_image(file, channels=3, expand_animations=False)
        alone = serve(IMAGE, array[tf.newaxis])
        assert alone["num_detections"][0] > 1
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][place], value[0], rtol=1e-4, atol=1e-5)


def test_one_pixel():
    for file in (encode(Image.new("RGB", (1, 1)), "PNG"), encode(Image.new("L", (1, 1)), "JPEG")):
        outputs = serve(ENCODED, tf.constant([file]))
        assert all(np.isfinite(value).all() for value in outputs.values())


@pytest.mark.slow
def test_an_image_of_108_million_pixels():
    """108 megapixels: 0.3 GB of pixels, and 1.3 GB more while they are resized."""
    file = encode(Image.new("RGB", (12000, 9000), (90, 40, 10)), "JPEG")
    outputs = serve(ENCODED, tf.constant([file]))
    assert all(np.isfinite(value).all() for value in outputs.values())
