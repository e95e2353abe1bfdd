"""Image decoding in TensorFlow graphs: 8-bit RGB from every format that it reads.

Shape letters: H W an image.

Training and the served model decode images with the same function. It consists of TensorFlow's own
operations, so it can be part of an exported graph.
"""

from __future__ import annotations

import tensorflow as tf

_BITMAP_MAGIC = b"BM"


def decode_rgb_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode an image file, a [] string, to [H, W, 3] uint8.

    The formats are JPEG, PNG, BMP, GIF (its first frame) and WebP. Grayscale becomes three equal
    channels, an alpha channel is dropped, 16 bits are reduced to their upper 8. The EXIF
    orientation is ignored.

    Args:
        encoded: the bytes of the file.

    Returns:
        The image.

    Raises:
        InvalidArgumentError: (when the graph runs) the bytes are not an image of these formats.
    """
    is_bitmap = tf.equal(tf.strings.substr(encoded, 0, len(_BITMAP_MAGIC)), _BITMAP_MAGIC)
    # TensorFlow converts channels for every format but this one.
    image = tf.cond(
        is_bitmap,
        lambda: _decode_bitmap(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_bitmap(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_bmp(encoded)  # 1, 3 or 4 channels, as the file has them
    return tf.cond(
        tf.equal(tf.shape(pixels)[2], 1),
        lambda: tf.gather(_bitmap_palette(encoded), tf.cast(pixels[..., 0], tf.int32)),
        lambda: pixels[..., :3],
    )


def _bitmap_palette(encoded: tf.Tensor) -> tf.Tensor:
    """Return the colors [N, 3] uint8 RGB of an 8-bit bitmap, stored before its pixels."""
    pixels_start = _integer_at(encoded, 10)
    palette_start = 14 + _integer_at(encoded, 14)
    colors = tf.strings.substr(encoded, palette_start, pixels_start - palette_start)
    return tf.reshape(tf.io.decode_raw(colors, tf.uint8), [-1, 4])[:, 2::-1]


def _integer_at(encoded: tf.Tensor, position: int) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.int32)[0]
