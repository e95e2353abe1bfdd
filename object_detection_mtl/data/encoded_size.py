"""Image size from the header of an encoded image, in TensorFlow graphs."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_HEADER = 32  # bytes; every format but JPEG states its size within them


def _little_endian(position: int, count: int) -> np.ndarray:
    """Return the factor of each byte of a header in the number stored at a position."""
    weights = np.zeros(_HEADER, np.int64)
    weights[position : position + count] = 256 ** np.arange(count)
    return weights


def _big_endian(position: int) -> np.ndarray:
    weights = np.zeros(_HEADER, np.int64)
    weights[position : position + 4] = 256 ** np.arange(3, -1, -1)
    return weights


# Width and height of PNG, GIF, BMP, lossy WebP, extended WebP; both in one number of lossless WebP.
_WEIGHTS = np.stack(
    [
        *(_big_endian(16), _big_endian(20)),
        *(_little_endian(6, 2), _little_endian(8, 2)),
        *(_little_endian(18, 4), _little_endian(22, 4)),
        *(_little_endian(26, 2), _little_endian(28, 2)),
        *(_little_endian(24, 3), _little_endian(27, 3)),
        _little_endian(21, 4),
    ]
)


def num_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Return height * width as the header of an image file states them, before it is decoded.

    A small file can decode to gigabytes; this number is known before they are allocated.

    Args:
        encoded: a [] string, the bytes of a JPEG, PNG, GIF, BMP or WebP file.

    Returns:
        int64 []; 0 for other formats.

    Raises:
        InvalidArgumentError: (when the graph runs) the header of a JPEG file is corrupt.
    """
    padded = tf.strings.join([encoded, tf.constant(b"\0" * _HEADER)])
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(padded, 0, _HEADER), tf.uint8), tf.int64)

    def starts_with(magic: bytes, position: int = 0) -> tf.Tensor:
        return tf.equal(tf.strings.substr(padded, position, len(magic)), magic)

    numbers = tf.unstack(tf.linalg.matvec(_WEIGHTS, header), num=len(_WEIGHTS))
    png, gif, bitmap = (numbers[i] * numbers[i + 1] for i in (0, 2, 4))
    lossy = (numbers[6] % 2**14) * (numbers[7] % 2**14)
    extended = (numbers[8] + 1) * (numbers[9] + 1)
    lossless = (numbers[10] % 2**14 + 1) * (numbers[10] // 2**14 % 2**14 + 1)
    # A negative height of a bitmap says that its rows are stored from the top.
    bitmap = tf.where(numbers[5] >= 2**31, numbers[4] * (2**32 - numbers[5]), bitmap)
    webp = tf.where(
        starts_with(b"VP8X", 12), extended, tf.where(starts_with(b"VP8L", 12), lossless, lossy)
    )
    pixels = tf.where(starts_with(b"\x89PNG"), png, 0)
    pixels = tf.where(starts_with(b"GIF8"), gif, pixels)
    pixels = tf.where(starts_with(b"BM"), bitmap, pixels)
    pixels = tf.where(starts_with(b"RIFF") & starts_with(b"WEBP", 8), webp, pixels)
    return tf.cond(starts_with(b"\xff\xd8"), lambda: _jpeg_pixels(encoded), lambda: pixels)


def _jpeg_pixels(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(encoded, tf.int64)
    return tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64)
