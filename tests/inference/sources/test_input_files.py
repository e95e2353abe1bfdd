"""Finding picture files, and reading whatever they are."""

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.inference.sources import input_files
from object_detection_mtl.inference.sources.input_files import PictureError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def found(*arguments, **options):
    return [str(file.name) for file in input_files.find([str(a) for a in arguments], **options)]


# Finding ----------------------------------------------------------------------------------------


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "notes.txt", ".hidden.jpg", "below/c.jpg")
    assert found(tmp_path) == ["a.png", "b.JPG"]
    assert found(tmp_path, recursive=True) == ["a.png", "b.JPG", "below/c.jpg"]


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path):
    touch(tmp_path, "picture", "a.jpg")
    assert found(tmp_path / "picture", tmp_path / "a.jpg") == ["picture", "a.jpg"]


def test_patterns(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "b.png", "deep/er/c.jpg")
    assert found(tmp_path / "*.jpg") == ["a.jpg", "b.jpg"]
    assert found(tmp_path / "**" / "*.jpg") == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    touch(tmp_path, "a[1].jpg", "a1.jpg")
    assert found(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_a_file_that_is_meant_twice_is_taken_once(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    assert found(tmp_path / "b.jpg", tmp_path, tmp_path / "*.jpg") == ["b.jpg", "a.jpg"]


def test_what_an_earlier_run_drew_is_not_looked_at(tmp_path):
    touch(tmp_path, "a.jpg", "out/pictures/a.jpg")
    assert found(tmp_path, recursive=True, without=tmp_path / "out") == ["a.jpg"]


def test_the_output_folder_is_no_input(tmp_path):
    touch(tmp_path, "out/pictures/a.jpg")
    for folder in ("out", "out/pictures"):
        with pytest.raises(FileNotFoundError, match=f"{folder}' is where the output goes"):
            found(tmp_path / folder, recursive=True, without=tmp_path / "out")


def test_paths_that_mean_nothing(tmp_path):
    touch(tmp_path, "photos/below/a.jpg", "street.jpg")
    for argument, words in [
        ("streat.jpg", r'no file or folder .*streat.jpg.; did you mean "street.jpg"\?'),
        ("nowhere/a.jpg", "nowhere' does not exist either"),
        ("photos", "photos' holds no picture; --recursive searches the folders in it"),
        ("*.gif", r"no file matches .*\*.gif"),
        ("pho*", r"no file matches .*pho\*' \(only folders do\)"),
    ]:
        with pytest.raises(FileNotFoundError, match=words):
            found(tmp_path / argument)
    with pytest.raises(FileNotFoundError, match="no picture was given"):
        input_files.find([])
    with pytest.raises(FileNotFoundError, match="no file or folder ''"):
        input_files.find([""])


# Reading ----------------------------------------------------------------------------------------


def colors(height=4, width=6, channels=3):
    return np.random.RandomState(0).randint(0, 256, (height, width, channels)).astype(np.uint8)


def save(path, picture, format_name, **options):
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, format_name, **options)
    return path


def check(path, expected, atol=0):
    actual = input_files.read(path)
    assert actual.dtype == np.uint8 and actual.flags.c_contiguous
    np.testing.assert_allclose(actual.astype(int), np.asarray(expected, int), atol=atol)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM"])
def test_colours(tmp_path, format_name):
    check(save(tmp_path / "a", colors(), format_name), colors())


def test_one_pixel(tmp_path):
    check(save(tmp_path / "a", colors(1, 1), "PNG"), colors(1, 1))


def test_greyscale_of_8_and_1_bits(tmp_path):
    grey = colors()[..., 0]
    three = np.repeat(grey[..., None], 3, axis=2)
    check(save(tmp_path / "a", grey, "PNG"), three)
    black_and_white = Image.fromarray(grey > 99)
    check(save(tmp_path / "b", black_and_white, "PNG"), 255 * (three > 99))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bits_are_scaled_and_not_cut_off(tmp_path, format_name):
    deep = np.array([[0, 255, 256], [1000, 40000, 65535]], np.uint16)
    expected = np.repeat(np.array([[0, 0, 1], [3, 156, 255]])[..., None], 3, axis=2)
    check(save(tmp_path / "a", deep, format_name), expected)


def test_32_bits_that_hold_16(tmp_path):
    check(save(tmp_path / "a", np.full((2, 2), 0x1200, np.int32), "TIFF"), np.full((2, 2, 3), 0x12))
    with pytest.raises(PictureError, match="its pixels are -1 to -1, expected 8 or 16 bits"):
        input_files.read(save(tmp_path / "b", np.full((2, 2), -1, np.int32), "TIFF"))


def test_cmyk(tmp_path):
    picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    check(save(tmp_path / "a", picture, "JPEG"), np.full((16, 16, 3), [255, 0, 0]), atol=4)


def test_an_alpha_channel_is_left_out(tmp_path):
    with_alpha = colors(channels=4)
    check(save(tmp_path / "a", with_alpha, "PNG"), with_alpha[..., :3])


def test_a_palette_and_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(colors()).convert("P"), Image.new("P", (6, 4))]
    path = save(tmp_path / "a", frames[0], "GIF", save_all=True, append_images=frames[1:])
    check(path, frames[0].convert("RGB"))


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right of the file: turn it by 90 degrees
    path = save(tmp_path / "a.png", colors(), "PNG", exif=exif)
    check(path, np.rot90(colors(), -1))
    np.testing.assert_array_equal(input_files.read(path, apply_exif_orientation=False), colors())


def test_files_that_are_no_pictures(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(colors(64, 64)).save(buffer, "JPEG")
    for data, words in [
        (b"", "the file is empty"),
        (b"<html>sorry", r"not a picture \(it starts with b'<html>so'\)"),
        (buffer.getvalue()[:-300], "cannot be decoded: image file is truncated"),
    ]:
        path = tmp_path / "a.jpg"
        path.write_bytes(data)
        with pytest.raises(PictureError, match=words):
            input_files.read(path)
    with pytest.raises(PictureError, match="floating-point"):
        input_files.read(save(path, np.ones((2, 2), np.float32), "TIFF"))
    with pytest.raises(FileNotFoundError):
        input_files.read(tmp_path / "nowhere.jpg")


def png_header(width, height):
    """The start of a grey PNG of any size, without its pixels."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(100_000, 100_000))
    with pytest.raises(PictureError, match="too large: .*10000000000 pixels"):
        input_files.read(path)


def test_108_million_pixels_are_read_without_a_warning(tmp_path):
    path = save(tmp_path / "a.png", Image.new("1", (12000, 9000), 1), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with input_files.large_pictures_without_warning():
            picture = input_files.read(path)
    assert picture.shape == (9000, 12000, 3) and picture[::999, ::999].min() == 255
