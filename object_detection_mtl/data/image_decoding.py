"""Picture files of every format that TensorFlow reads, as 8-bit RGB.

Shape letters: H W a picture.

Training data and the served model decode by this one function, which is made of TensorFlow's own
operations only, so that it can be part of an exported graph.
"""

from __future__ import annotations

import tensorflow as tf

_BITMAP_MAGIC = b"BM"


def decode_picture(encoded: tf.Tensor) -> tf.Tensor:
    """A picture file [] string -> [H, W, 3] uint8.

    JPEG, PNG, BMP, GIF (its first frame) and WebP. Greyscale becomes three equal channels, an alpha
    channel is left out, 16 bits become their upper 8. EXIF orientation is not looked at.

    Raises (when run):
        InvalidArgumentError: bytes that are no such picture.
    """
    is_bitmap = tf.equal(tf.strings.substr(encoded, 0, len(_BITMAP_MAGIC)), _BITMAP_MAGIC)
    # TensorFlow converts channels for every format but this one.
    picture = tf.cond(
        is_bitmap,
        lambda: _decode_bitmap(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(picture, [None, None, 3])


def _decode_bitmap(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_bmp(encoded)  # 1, 3 or 4 channels, as the file has them
    return tf.cond(
        tf.equal(tf.shape(pixels)[2], 1),
        lambda: tf.gather(_bitmap_palette(encoded), tf.cast(pixels[..., 0], tf.int32)),
        lambda: pixels[..., :3],
    )


def _bitmap_palette(encoded: tf.Tensor) -> tf.Tensor:
    """Colours [N, 3] uint8 RGB of an 8-bit bitmap: they lie between its headers and its pixels."""
    pixels_start = _integer_at(encoded, 10)
    palette_start = 14 + _integer_at(encoded, 14)
    colors = tf.strings.substr(encoded, palette_start, pixels_start - palette_start)
    return tf.reshape(tf.io.decode_raw(colors, tf.uint8), [-1, 4])[:, 2::-1]


def _integer_at(encoded: tf.Tensor, position: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.int32)[0]
