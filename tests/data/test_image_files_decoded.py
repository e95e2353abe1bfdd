"""Image files decoded for detection, unusual paths, hostile files."""

import ast
import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.data import image_files
from object_detection_mtl.inference.sources import image_source
from object_detection_mtl.inference.sources.input_files import InputFile
from tests.data.image_file_cases import huge_png
from tests.dataset_tools.voc_files import block_image, encoded

# Decoded images for detection -------------------------------------------------------------------


def colors(height=4, width=6, channels=3):
    return np.random.RandomState(0).randint(0, 256, (height, width, channels)).astype(np.uint8)


def save(path, image, format_name, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, format_name, **options)
    return path


def check(path, expected, atol=0):
    actual = image_files.read_image(path)
    assert actual.dtype == np.uint8
    assert actual.flags.c_contiguous
    np.testing.assert_allclose(actual.astype(int), np.asarray(expected, int), atol=atol)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM"])
def test_decoded_colors(tmp_path, format_name):
    check(save(tmp_path / "a", colors(), format_name), colors())


def test_decoded_image_of_one_pixel(tmp_path):
    check(save(tmp_path / "a", colors(1, 1), "PNG"), colors(1, 1))


def test_grayscale_of_8_and_1_bits_becomes_three_equal_channels(tmp_path):
    gray = colors()[..., 0]
    three = np.repeat(gray[..., None], 3, axis=2)
    check(save(tmp_path / "a", gray, "PNG"), three)
    black_and_white = Image.fromarray(gray > 99)
    check(save(tmp_path / "b", black_and_white, "PNG"), 255 * (three > 99))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(tmp_path, format_name):
    deep = np.array([[0, 255, 256], [1000, 40000, 65535]], np.uint16)
    expected = np.repeat(np.array([[0, 0, 1], [3, 156, 255]])[..., None], 3, axis=2)
    check(save(tmp_path / "a", deep, format_name), expected)


def test_32_bits_with_16_bit_values(tmp_path):
    check(save(tmp_path / "a", np.full((2, 2), 0x1200, np.int32), "TIFF"), np.full((2, 2, 3), 0x12))
    path = save(tmp_path / "b", np.full((2, 2), -1, np.int32), "TIFF")
    with pytest.raises(image_files.ImageError, match="the pixels are -1 to -1, expected 8 or 16"):
        image_files.read_image(path)


def test_cmyk_is_converted(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    check(save(tmp_path / "a", image, "JPEG"), np.full((16, 16, 3), [255, 0, 0]), atol=4)


def test_alpha_channel_is_dropped(tmp_path):
    with_alpha = colors(channels=4)
    check(save(tmp_path / "a", with_alpha, "PNG"), with_alpha[..., :3])


def test_first_frame_of_an_animation_with_a_palette(tmp_path):
    frames = [Image.fromarray(colors()).convert("P"), Image.new("P", (6, 4))]
    path = save(tmp_path / "a", frames[0], "GIF", save_all=True, append_images=frames[1:])
    check(path, frames[0].convert("RGB"))


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right of the file: rotate it by 90 degrees
    path = save(tmp_path / "a.png", colors(), "PNG", exif=exif)
    check(path, np.rot90(colors(), -1))
    stored = image_files.read_image(path, apply_exif_orientation=False)
    np.testing.assert_array_equal(stored, colors())


def test_unreadable_files(tmp_path):
    truncated = encoded(block_image(64, 64))[:-300]
    for data, message in [
        (b"", "the file is empty"),
        (b"<html>sorry", r"not an image of a supported format \(it is HTML"),
        (truncated, "cannot be decoded: image file is truncated"),
    ]:
        path = tmp_path / "a.jpg"
        path.write_bytes(data)
        with pytest.raises(image_files.ImageError, match=message):
            image_files.read_image(path)
    path = save(path, np.ones((2, 2), np.float32), "TIFF")
    with pytest.raises(image_files.ImageError, match="floating-point"):
        image_files.read_image(path)
    with pytest.raises(FileNotFoundError):
        image_files.read_image(tmp_path / "nowhere.jpg")


def test_image_of_too_many_pixels_is_an_error_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(huge_png(100_000, 100_000))
    with pytest.raises(image_files.ImageError, match="too large: .*10000000000 pixels"):
        image_files.read_image(path)


@pytest.mark.slow
def test_108_million_pixels_are_decoded_without_a_warning(tmp_path):
    path = save(tmp_path / "a.png", Image.new("1", (12000, 9000), 1), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with image_files.ignore_size_warnings():
            image = image_files.read_image(path)
    assert image.shape == (9000, 12000, 3)
    assert image[::999, ::999].min() == 255


# Paths ------------------------------------------------------------------------------------------


def test_a_named_pipe_and_a_device_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "device.jpg"):
        for read in (image_files.read_image, image_files.read_encoded_image):
            with pytest.raises(image_files.ImageError, match="not a regular file"):
                read(tmp_path / name)


# Hostile files ----------------------------------------------------------------------------------

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n%%EOF\n"


FOREIGN = {
    "PostScript": POSTSCRIPT,
    "PostScript with a preview": b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT,
    "Windows metafile": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(40),
    "PDF": b"%PDF-1.7\n",
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(40),
    "secret": b"root:x:0:0:secret",
}


@pytest.fixture
def started_programs(tmp_path, monkeypatch):
    """Put a `gs` on the PATH that records that it was started; return the record."""
    marker = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho started >> {marker}\necho 10.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return marker


def readers_of_image_files():
    def through_source(path):
        found = image_source.ImageFileSource(InputFile(path, path), image_source.ReadingOptions())
        next(found.entries(lambda position: False)).load()

    return {
        "conversion": image_files.read_encoded_image,
        "verified conversion": lambda path: image_files.read_encoded_image(path, verify=True),
        "detection": through_source,
    }


@pytest.mark.parametrize("reader", readers_of_image_files())
@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_file_named_as_an_image_starts_no_program_and_is_not_quoted(
    tmp_path, started_programs, reader, content
):
    path = tmp_path / "a.jpg"
    path.write_bytes(FOREIGN[content])
    with pytest.raises(image_files.ImageError, match="not an image of a supported") as raised:
        readers_of_image_files()[reader](path)
    assert not started_programs.exists()
    assert "root" not in str(raised.value)


def test_the_program_of_the_tests_would_be_started(tmp_path, started_programs):
    path = tmp_path / "a.jpg"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011
        image.load()
    assert started_programs.exists()


@pytest.mark.parametrize(
    "error", [IndexError, KeyError, ZeroDivisionError, struct.error, TypeError]
)
def test_any_error_of_a_decoder_is_an_image_error(tmp_path, monkeypatch, error):
    def fail(*args):
        raise error("in\nthe decoder")

    path = save(tmp_path / "a", colors(), "BMP")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    for read in (image_files.read_image, image_files.read_encoded_image):
        with pytest.raises(image_files.ImageError, match=r"cannot be decoded: .*in.*the decoder"):
            read(path)


def test_every_call_of_pillow_names_the_formats():
    package = Path(image_files.__file__).parents[1]
    calls = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                calls.append(path.name)
                assert "formats" in [keyword.arg for keyword in node.keywords], path
    assert calls == ["image_files.py"]
