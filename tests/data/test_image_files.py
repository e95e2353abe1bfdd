"""Picture files on their way into a record."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.data import image_files
from tests.dataset_tools.voc_files import encoded, picture


def read(tmp_path, data, verify=False, name="a.jpg"):
    (tmp_path / name).write_bytes(data)
    return image_files.read_image(tmp_path / name, verify)


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
def test_the_content_decides_and_bytes_stay(tmp_path, format_name, mode, expected):
    data = encoded(picture(40, 30, mode), format_name)
    for name in ("a.jpg", "a.png", "a"):
        result = read(tmp_path, data, name=name)
        assert result == image_files.EncodedImage(data, expected, height=30, width=40)


def test_sixteen_bit_png_stays(tmp_path):
    data = encoded(Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000), "PNG")
    assert read(tmp_path, data) == image_files.EncodedImage(data, "png", 3, 4)


@pytest.mark.parametrize(("number_type", "mode"), [("<u2", "I;16"), (">u2", "I;16B"), ("<i4", "I")])
def test_sixteen_bits_of_other_formats_stay_sixteen(tmp_path, number_type, mode):
    values = (np.arange(12).reshape(3, 4) * 5000).astype(number_type)
    grey = Image.frombytes(mode, (4, 3), values.tobytes())
    result = read(tmp_path, encoded(grey, "TIFF"))
    kept = np.asarray(Image.open(io.BytesIO(result.data)))
    np.testing.assert_array_equal(kept, values)
    assert result.reencoded


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full((3, 4), 0.5, np.float32), "floating-point"),
        (np.full((3, 4), 70000, np.int32), "70000"),
    ],
)
def test_numbers_that_are_no_colours_are_refused(tmp_path, values, says):
    with pytest.raises(image_files.ImageError, match=says):
        read(tmp_path, encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("format_name", ["BMP", "GIF", "WEBP", "TIFF"])
def test_other_formats_become_png_without_loss(tmp_path, format_name):
    image = picture(20, 10, "P" if format_name == "GIF" else "RGB")
    options = {"lossless": True} if format_name == "WEBP" else {}
    result = read(tmp_path, encoded(image, format_name, **options))
    assert (result.format, result.reencoded, result.height, result.width) == ("png", True, 10, 20)
    again = Image.open(io.BytesIO(result.data)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image.convert("RGB")))


def test_one_pixel(tmp_path):
    for format_name in ("JPEG", "PNG"):
        result = read(tmp_path, encoded(picture(1, 1), format_name))
        assert (result.height, result.width) == (1, 1)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, format_name, share):
    data = encoded(picture(200, 160), format_name)
    with pytest.raises(image_files.ImageError, match="cut short|header|not a picture"):
        read(tmp_path, data[: int(len(data) * share)])


def test_a_file_without_its_last_byte_is_refused(tmp_path):
    for format_name in ("JPEG", "PNG"):
        with pytest.raises(image_files.ImageError, match="cut short"):
            read(tmp_path, encoded(picture(), format_name)[:-1])


def test_the_end_mark_of_a_thumbnail_does_not_hide_a_cut(tmp_path):
    thumbnail = encoded(picture(16, 16))
    data = encoded(picture(200, 160, seed=3), comment=b"x" + thumbnail)
    assert data.count(b"\xff\xd9") == 2
    assert read(tmp_path, data).height == 160
    with pytest.raises(image_files.ImageError, match="cannot be decoded"):
        read(tmp_path, data[: len(data) * 3 // 4])


def test_bytes_after_the_end_are_harmless(tmp_path):
    for format_name in ("JPEG", "PNG"):
        data = encoded(picture(), format_name)
        for tail in (b"\0" * 64, b"trailing words"):
            assert read(tmp_path, data + tail).data == data + tail


def test_damage_in_the_middle_needs_verification(tmp_path):
    data = bytearray(encoded(picture(200, 160), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert read(tmp_path, bytes(data)).width == 200
    with pytest.raises(image_files.ImageError, match="cannot be decoded"):
        read(tmp_path, bytes(data), verify=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"<html>no picture</html>", "not a picture .*<html>"),
        (b"\0" * 99, "not"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, data, says):
    with pytest.raises(image_files.ImageError, match=says):
        read(tmp_path, data)


def huge_png(width, height):
    """A PNG that only says it is huge: its header is right, its pixels are missing."""
    data = bytearray(encoded(picture(), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_large_pictures_pass_without_warning_and_larger_ones_are_refused(tmp_path, recwarn):
    assert read(tmp_path, huge_png(12000, 9000)).width == 12000
    assert not [item for item in recwarn if "bomb" in str(item.message).lower()]
    with pytest.raises(image_files.ImageError, match="too large|are more than"):
        read(tmp_path, huge_png(30000, 9000))


def test_sideways_pictures_are_recognised_and_turned(tmp_path):
    image = picture(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn clockwise to view.
    result = read(tmp_path, encoded(image, exif=exif, quality=95, subsampling=0))
    assert result.sideways and (result.height, result.width) == (30, 40)
    upright = image_files.turned_upright(result)
    assert (upright.height, upright.width, upright.sideways) == (40, 30, False)
    pixels = np.asarray(Image.open(io.BytesIO(upright.data)), np.int64)
    expected = np.rot90(np.asarray(image, np.int64), k=-1)
    assert np.abs(pixels - expected).mean() < 5
    assert not read(tmp_path, encoded(image)).sideways
