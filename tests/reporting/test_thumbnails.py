import base64
import io

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.reporting.thumbnails import MAX_SIDE, ThumbnailMaker
from tests.reporting.hand_made import CAT, image


def encoded(width, height, kind="PNG"):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = [255, 0, 0]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def decoded(thumbnail):
    head, _, data = thumbnail.url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def item(data, **fields):
    def read():
        if isinstance(data, Exception):
            raise data
        return data

    return image([([1, 2, 30, 40], CAT)], [], read_bytes=read, **fields)


@pytest.mark.parametrize(("width", "height", "size"), [(300, 150, (96, 48)), (50, 100, (48, 96))])
def test_the_longer_side_has_96_pixels(width, height, size):
    made = ThumbnailMaker().of_image(item(encoded(width, height)))
    assert decoded(made).size == size
    assert max(size) == MAX_SIDE
    assert made.window == (0, 0, height, width)
    assert made.view_box == f"0.0 0.0 {width}.0 {height}.0"


def test_small_images_are_not_enlarged():
    assert decoded(ThumbnailMaker().of_image(item(encoded(20, 10)))).size == (20, 10)


def test_a_region_has_context_and_stays_inside():
    made = ThumbnailMaker().of_region(item(encoded(400, 200)), [np.array([50, 300, 150, 400])])
    # Middle (100, 350), half of the side 0.85 * 100.
    assert made.window == (15, 265, 185, 400)
    pixels = np.asarray(decoded(made))
    assert pixels[..., 0].min() > 200  # The right half is red.


def test_a_region_outside_of_the_image_is_still_a_region():
    made = ThumbnailMaker().of_region(item(encoded(40, 30)), [np.array([90, 90, 95, 95])])
    ymin, xmin, ymax, xmax = made.window
    assert ymin < ymax <= 30
    assert xmin < xmax <= 40


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (FileNotFoundError("gone"), "the image file does not exist"),
        (ValueError("the record has no image"), "the image file is unreadable"),
        (b"no image", "the image file is unreadable"),
        (encoded(40, 40)[:60], "the image file is unreadable"),
    ],
)
def test_an_image_that_cannot_be_read_has_a_reason(data, reason):
    made = ThumbnailMaker().of_image(item(data, height=30, width=60))
    assert (made.url, made.reason) == ("", reason)
    assert made.window == (0, 0, 30, 60)


def test_an_image_without_file_and_size_is_as_large_as_its_boxes():
    made = ThumbnailMaker().of_image(image([([1, 2, 30, 40], CAT)], []))
    assert made.reason == "no image file"
    assert made.window == (0, 0, 30, 40)


def test_an_image_is_turned_where_its_annotation_is():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 100)).save(buffer, "JPEG", exif=exif)
    data = buffer.getvalue()
    turned = ThumbnailMaker().of_image(item(data, height=200, width=100, is_file=True))
    assert decoded(turned).size == (48, 96)
    as_stored = ThumbnailMaker().of_image(item(data, height=100, width=200, is_file=True))
    assert decoded(as_stored).size == (96, 48)
    in_record = ThumbnailMaker().of_image(item(data, height=200, width=100))
    assert decoded(in_record).size == (96, 48)


def test_a_region_is_in_the_pixels_of_the_annotation_of_a_resized_copy():
    box = [np.array([0, 60, 10, 70])]
    copied = item(encoded(400, 200), height=50, width=100, is_file=True)
    made = ThumbnailMaker().of_region(copied, box)
    assert np.asarray(decoded(made))[..., 0].min() > 200  # The right half is red.
