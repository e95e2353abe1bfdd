"""Image files encoded for records."""

import io

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.data import image_files
from object_detection_mtl.inference.sources import image_source
from tests.data.image_file_cases import huge_png, read_encoded
from tests.dataset_tools.voc_files import block_image, encoded


@pytest.mark.parametrize(
    ("format_name", "mode", "expected"),
    [
        ("JPEG", "RGB", "jpeg"),
        ("JPEG", "L", "jpeg"),
        ("JPEG", "CMYK", "jpeg"),
        ("PNG", "RGB", "png"),
        ("PNG", "RGBA", "png"),
        ("PNG", "P", "png"),
        ("PNG", "1", "png"),
    ],
)
def test_format_is_detected_from_the_content_and_bytes_are_kept(
    tmp_path, format_name, mode, expected
):
    data = encoded(block_image(40, 30, mode), format_name)
    for name in ("a.jpg", "a.png", "a"):
        result = read_encoded(tmp_path, data, name=name)
        assert result == image_files.EncodedImage(data, expected, height=30, width=40)


def test_sixteen_bit_png_is_kept(tmp_path):
    data = encoded(Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000), "PNG")
    assert read_encoded(tmp_path, data) == image_files.EncodedImage(data, "png", 3, 4)


@pytest.mark.parametrize(("number_type", "mode"), [("<u2", "I;16"), (">u2", "I;16B"), ("<i4", "I")])
def test_sixteen_bits_of_other_formats_are_kept(tmp_path, number_type, mode):
    values = (np.arange(12).reshape(3, 4) * 5000).astype(number_type)
    gray = Image.frombytes(mode, (4, 3), values.tobytes())
    result = read_encoded(tmp_path, encoded(gray, "TIFF"))
    kept = np.asarray(Image.open(io.BytesIO(result.data)))
    np.testing.assert_array_equal(kept, values)
    assert result.reencoded


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 4), 0.5, np.float32), "floating-point"),
        (np.full((3, 4), 70000, np.int32), "70000"),
    ],
)
def test_values_that_are_not_colors_are_an_error(tmp_path, values, message):
    with pytest.raises(image_files.ImageError, match=message):
        read_encoded(tmp_path, encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("format_name", ["BMP", "GIF", "WEBP", "TIFF"])
def test_other_formats_are_stored_as_lossless_png(tmp_path, format_name):
    image = block_image(20, 10, "P" if format_name == "GIF" else "RGB")
    options = {"lossless": True} if format_name == "WEBP" else {}
    result = read_encoded(tmp_path, encoded(image, format_name, **options))
    assert (result.format, result.reencoded, result.height, result.width) == ("png", True, 10, 20)
    again = Image.open(io.BytesIO(result.data)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image.convert("RGB")))


def test_encoded_image_of_one_pixel(tmp_path):
    for format_name in ("JPEG", "PNG"):
        result = read_encoded(tmp_path, encoded(block_image(1, 1), format_name))
        assert (result.height, result.width) == (1, 1)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.9])
def test_truncated_file_is_an_error(tmp_path, format_name, fraction):
    data = encoded(block_image(200, 160), format_name)
    with pytest.raises(image_files.ImageError, match="truncated|header|not an image"):
        read_encoded(tmp_path, data[: int(len(data) * fraction)])


def test_file_without_its_last_byte_is_an_error(tmp_path):
    for format_name in ("JPEG", "PNG"):
        with pytest.raises(image_files.ImageError, match="truncated"):
            read_encoded(tmp_path, encoded(block_image(), format_name)[:-1])


def test_truncation_is_found_despite_the_end_marker_of_a_thumbnail(tmp_path):
    thumbnail = encoded(block_image(16, 16))
    data = encoded(block_image(200, 160, seed=3), comment=b"x" + thumbnail)
    assert data.count(b"\xff\xd9") == 2
    assert read_encoded(tmp_path, data).height == 160
    with pytest.raises(image_files.ImageError, match="cannot be decoded"):
        read_encoded(tmp_path, data[: len(data) * 3 // 4])


def test_bytes_after_the_end_are_accepted(tmp_path):
    for format_name in ("JPEG", "PNG"):
        data = encoded(block_image(), format_name)
        for tail in (b"\0" * 64, b"trailing words"):
            assert read_encoded(tmp_path, data + tail).data == data + tail


def test_corrupt_data_in_the_middle_are_found_by_verification(tmp_path):
    data = bytearray(encoded(block_image(200, 160), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert read_encoded(tmp_path, bytes(data)).width == 200
    with pytest.raises(image_files.ImageError, match="cannot be decoded"):
        read_encoded(tmp_path, bytes(data), verify=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html>sorry</html>", r"not an image of a supported format \(it is HTML"),
        (b"\0" * 99, "not"),
    ],
)
def test_file_that_is_not_an_image_is_an_error(tmp_path, data, message):
    with pytest.raises(image_files.ImageError, match=message):
        read_encoded(tmp_path, data)


def test_images_up_to_the_limit_are_read_without_warning(tmp_path, recwarn):
    assert read_encoded(tmp_path, huge_png(12000, 9000)).width == 12000
    assert not [item for item in recwarn if "bomb" in str(item.message).lower()]
    with pytest.raises(image_files.ImageError, match="too large"):
        read_encoded(tmp_path, huge_png(30000, 9000))


# EXIF orientation -> operation that turns the stored pixels upright.
TO_UPRIGHT = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TO_UPRIGHT)
def test_orientations_in_every_format(tmp_path, format_name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = block_image(40, 32)
    data = encoded(image, format_name, exif=exif, **quality.get(format_name, {}))
    stored = np.asarray(image, np.int64)
    upright = TO_UPRIGHT[orientation](stored)

    def check_pixels(actual, expected):
        assert actual.shape == expected.shape
        assert np.abs(np.asarray(actual, np.int64) - expected).mean() < 3

    check_pixels(image_files.decode_image(data, apply_exif_orientation=False), stored)
    check_pixels(image_files.decode_image(data), upright)
    result = read_encoded(tmp_path, data)
    assert result.orientation == orientation
    assert result.upright_size == upright.shape[:2]
    kept = image_files.decode_image(result.data, apply_exif_orientation=False)
    check_pixels(kept, stored)
    if orientation > 1:
        turned = image_files.rotate_upright(result)
        assert (turned.height, turned.width, turned.orientation) == (*upright.shape[:2], 1)
        check_pixels(image_files.decode_image(turned.data), upright)


@pytest.mark.parametrize(
    "header", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\1\1"]
)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_a_corrupt_exif_header_does_not_matter(tmp_path, format_name, header, recwarn):
    data = encoded(block_image(40, 30), format_name, exif=b"Exif\0\0" + header)
    with image_files.ignore_size_warnings():
        assert read_encoded(tmp_path, data).orientation == 1
        image = image_files.decode_image(data)
        image_source.encoded_for_record(data, image, apply_exif_orientation=True)
    assert image.shape == (30, 40, 3)
    assert not recwarn.list


@pytest.mark.parametrize("orientation", [0, 9, 2**15])
def test_an_invalid_orientation_is_none(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert read_encoded(tmp_path, encoded(block_image(), exif=exif)).orientation == 1
