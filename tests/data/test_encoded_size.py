"""Image size from the header of an encoded image."""

import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.data import encoded_size
from tests.dataset_tools.voc_files import block_image, encoded

EXTENDED = {"exif": Image.Exif().tobytes(), "icc_profile": b"x" * 20}


@pytest.fixture(scope="module")
def num_pixels():
    return tf.function(
        encoded_size.num_pixels,
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )


@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", EXTENDED),
    ],
)
def test_size_in_the_header(num_pixels, format_name, options):
    data = encoded(block_image(37, 53), format_name, **options)
    assert int(num_pixels(data)) == 37 * 53


def test_large_sizes_do_not_overflow(num_pixels):
    data = bytearray(encoded(block_image(), "PNG"))
    data[16:24] = b"\x7f\xff\xff\xff" * 2
    assert int(num_pixels(bytes(data))) == (2**31 - 1) ** 2


def test_bitmap_stored_from_the_top(num_pixels):
    data = bytearray(encoded(block_image(37, 53), "BMP"))
    data[22:26] = (-53).to_bytes(4, "little", signed=True)
    assert int(num_pixels(bytes(data))) == 37 * 53


@pytest.mark.parametrize("data", [b"", b"GIF8", b"no image", b"RIFF1234WEBPVP9 "])
def test_other_bytes_have_no_pixels(num_pixels, data):
    assert int(num_pixels(data)) in (0, 1)


def test_corrupt_jpeg_is_an_error(num_pixels):
    with pytest.raises(tf.errors.InvalidArgumentError):
        num_pixels(b"\xff\xd8 no image")
