"""Input types of exported models: decoding, resizing, padding."""

import base64
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.data import image_resizing
from object_detection_mtl.export import serving_inputs
from tests.export import exported


def encode(array, format_name="PNG", mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array, mode)
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def colors(height=5, width=7, channels=3, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (height, width, channels)).astype(np.uint8)


def as_palette(rgb):
    return Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE, colors=200)


GREY = colors(channels=1)[..., 0]
RGB, RGBA = colors(), colors(channels=4)
DEEP = np.arange(0, 35 * 1800, 1800).reshape(5, 7).astype(np.uint16)
THREE_GREY = np.repeat(GREY[..., np.newaxis], 3, axis=2)
LOSSLESS = {
    "PNG": (encode(RGB), RGB),
    "grey PNG": (encode(GREY), THREE_GREY),
    "PNG with alpha": (encode(RGBA), RGBA[..., :3]),
    "grey PNG with alpha": (
        encode(Image.merge("LA", [Image.fromarray(GREY)] * 2)),
        THREE_GREY,
    ),
    "16-bit PNG": (encode(DEEP), np.repeat((DEEP >> 8).astype(np.uint8)[..., None], 3, axis=2)),
    "palette PNG": (encode(as_palette(RGB)), RGB),
    "BMP": (encode(RGB, "BMP"), RGB),
    "grey BMP": (encode(GREY, "BMP"), THREE_GREY),
    "palette BMP": (encode(as_palette(RGB), "BMP"), RGB),
    "BMP with alpha": (encode(RGBA, "BMP"), RGBA[..., :3]),
    "GIF": (encode(as_palette(RGB), "GIF"), RGB),
    "animated GIF": (
        encode(as_palette(RGB), "GIF", save_all=True, append_images=[as_palette(RGB[::-1].copy())]),
        RGB,
    ),
    "1x1 PNG": (encode(RGB[:1, :1]), RGB[:1, :1]),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_become_three_channels(name):
    data, expected = LOSSLESS[name]
    np.testing.assert_array_equal(serving_inputs.decode_rgb_image(tf.constant(data)), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_of_any_color_space(mode):
    flat = np.full((16, 24, 3), [200, 100, 50], np.uint8)
    image = Image.fromarray(flat).convert(mode)
    decoded = serving_inputs.decode_rgb_image(tf.constant(encode(image, "JPEG", quality=95)))
    expected = np.asarray(image.convert("RGB"), np.int32)
    np.testing.assert_allclose(decoded, expected, atol=3)


@pytest.mark.parametrize("data", [b"", b"no image", encode(RGB)[:60], b"BM"])
def test_bytes_that_are_not_an_image(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        serving_inputs.decode_rgb_image(tf.constant(data))


class Detector:
    """A substitute of a detector: resizes and shifts values, so that padding differs from black."""

    def __init__(self, resizer):
        self.resizer = resizer

    def preprocess(self, images):
        resized, shapes = self.resizer(tf.cast(images, tf.float32))
        return resized + 1.0, shapes


KEEP = Detector(
    functools.partial(
        image_resizing.keep_aspect_ratio, min_dimension=8, max_dimension=16, half_pixel_centers=True
    )
)
IMAGES = [colors(8, 12), colors(20, 10, seed=1), colors(4, 4, seed=2)]
ENCODED = [encode(IMAGES[0]), encode(IMAGES[1], "BMP"), encode(IMAGES[2])]


def check_padded(batch, shapes):
    """Return the batch of `ENCODED`: each resized alone, then padded with zeros."""
    assert batch.shape == (3, 16, 12, 3)
    np.testing.assert_array_equal(shapes, [[8, 12, 3], [16, 8, 3], [8, 8, 3]])
    for image, row, (height, width, _) in zip(IMAGES, batch.numpy(), shapes.numpy(), strict=True):
        alone, _ = KEEP.preprocess(image[np.newaxis])
        np.testing.assert_allclose(row[:height, :width], alone[0], atol=1e-5)
        assert not row[height:].any()
        assert not row[:, width:].any()


def test_files_of_different_sizes_are_resized_alone_and_padded_together():
    check_padded(*serving_inputs.inputs_from_encoded(KEEP, tf.constant(ENCODED)))


def test_files_in_a_graph():
    function = tf.function(
        lambda encoded: serving_inputs.inputs_from_encoded(KEEP, encoded),
        input_signature=[serving_inputs.INPUT_TYPES["encoded_image_string_tensor"].spec()],
        autograph=False,
    )
    check_padded(*function(tf.constant(ENCODED)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the batch is empty"):
        function(tf.constant([], tf.string))


def test_a_fixed_shape_resizer_gives_a_static_shape():
    fixed = Detector(
        functools.partial(image_resizing.fixed_shape, height=6, width=9, half_pixel_centers=True)
    )
    spec = serving_inputs.INPUT_TYPES["encoded_image_string_tensor"].spec()
    concrete = tf.function(
        lambda encoded: serving_inputs.inputs_from_encoded(fixed, encoded),
        input_signature=[spec],
        autograph=False,
    ).get_concrete_function()
    assert concrete.output_shapes[0].as_list() == [None, 6, 9, 3]


def example(**features):
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                key.replace("__", "/"): tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[value])
                )
                for key, value in features.items()
            }
        )
    ).SerializeToString()


def test_examples_with_image_files():
    records = [example(image__encoded=data, image__filename=b"x") for data in ENCODED]
    check_padded(*serving_inputs.inputs_from_examples(KEEP, tf.constant(records)))


def test_an_example_without_an_image():
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/encoded"):
        serving_inputs.inputs_from_examples(KEEP, tf.constant([example(image__filename=b"x")]))


def test_the_tensors_are_those_of_the_od_api():
    assert {
        name: (kind.dtype.name, kind.shape, kind.spec().name)
        for name, kind in serving_inputs.INPUT_TYPES.items()
    } == {
        "image_tensor": ("uint8", (1, None, None, 3), "input_tensor"),
        "float_image_tensor": ("float32", (None, None, None, 3), "input_tensor"),
        "encoded_image_string_tensor": ("string", (None,), "input_tensor"),
        "tf_example": ("string", (None,), "input_tensor"),
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("image_and_boxes_tensor", "not supported.*masks"),
        ("image_tensr", "'image_tensr' is unknown; use one of image_tensor"),
    ],
)
def test_other_input_types(name, words):
    with pytest.raises(ValueError, match=words):
        serving_inputs.find_input_type(name)


def test_base64_text_is_named():
    file = base64.b64encode(LOSSLESS["PNG"][0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="text in base64, not an image file"):
        serving_inputs.inputs_from_encoded(exported.detector(), tf.constant([file]))
