"""Picture files as they go into a record: encoded bytes, true format, true size.

JPEG and PNG files are taken over byte for byte; only their header and their end are looked at, so
that a data set is converted at the speed of the disk. What the format is, the content says.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# The largest picture that TensorFlow's JPEG decoder takes: 2**29 bytes of RGB.
MAX_PIXELS = 2**29 // 3
_END_OF_JPEG = b"\xff\xd9"
_END_OF_PNG = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_EXIF_ORIENTATION = 0x0112


class ImageError(ValueError):
    """A file that holds no usable picture. The message says why, without the file's name."""


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An encoded picture.

    Attributes:
      data: the bytes of a JPEG or PNG file.
      format: "jpeg" or "png".
      height, width: pixels, from the picture's own header.
      reencoded: the file was of another format and `data` is a lossless PNG copy of it.
      sideways: the EXIF header asks viewers to turn the picture by 90 degrees. Decoders of
        training pipelines do not.
    """

    data: bytes
    format: str
    height: int
    width: int
    reencoded: bool = False
    sideways: bool = False


def read_image(path: str | Path, verify: bool = False) -> EncodedImage:
    """Reads a picture file for a record.

    Args:
      path: the file.
      verify: decode the whole picture, which finds damage in the middle of a file as well. Without
        it a file is recognised as cut short by its missing end mark.

    Raises:
      ImageError: not a picture, cut short, damaged, or larger than MAX_PIXELS.
      OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    if not data:
        raise ImageError("the file is empty")
    with _open(data) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"{image.width}x{image.height} pixels are more than the {MAX_PIXELS} that can be "
                "decoded again"
            )
        if image.format not in ("JPEG", "MPO", "PNG"):
            return _as_png(image)
        format_name = "png" if image.format == "PNG" else "jpeg"
        if verify or _end_is_doubtful(data, format_name):
            _decode(image)
        return EncodedImage(
            data=data,
            format=format_name,
            height=image.height,
            width=image.width,
            # Pillow decodes a whole PNG to look for EXIF; cameras write JPEG.
            sideways=format_name == "jpeg" and _orientation(image) in (5, 6, 7, 8),
        )


def turned_upright(encoded: EncodedImage) -> EncodedImage:
    """A copy turned as its EXIF header asks, without that header: for boxes drawn in a viewer."""
    with _open(encoded.data) as image:
        _decode(image)
        upright = ImageOps.exif_transpose(image)
        buffer = io.BytesIO()
        if encoded.format == "jpeg":
            upright.save(buffer, "JPEG", quality=95, subsampling=0)
        else:
            upright.save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), encoded.format, upright.height, upright.width)


def _open(data: bytes) -> Image.Image:
    """The header as Pillow reads it; its warning from half of MAX_PIXELS on is of no concern."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ImageError(f"not a picture (it starts with {data[:8]!r})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large to be decoded again: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"its header cannot be read: {error}") from error


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(_EXIF_ORIENTATION, 1) if "exif" in image.info else 1


def _decode(image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"it cannot be decoded: {error}") from error


def _end_is_doubtful(data: bytes, format_name: str) -> bool:
    """Whether something follows the end mark; then only decoding can tell what.

    Raises:
      ImageError: there is no end mark at all.
    """
    mark = _END_OF_PNG if format_name == "png" else _END_OF_JPEG
    if data.endswith(mark):
        return False
    if mark not in data:
        raise ImageError("the file is cut short: it has no end-of-image mark")
    return bool(data[data.rfind(mark) + len(mark) :].strip(b"\x00"))


def _as_png(image: Image.Image) -> EncodedImage:
    """Other formats are stored as PNG, which every reader of records decodes (first frame only)."""
    _decode(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _sixteen_bit(image)
    elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "png", image.height, image.width, reencoded=True)


def _sixteen_bit(image: Image.Image) -> Image.Image:
    """16-bit greyscale in whatever mode Pillow reads it; its own conversion cuts off at 255."""
    if image.mode == "F":
        raise ImageError("its pixels are floating-point numbers, whose range is not known")
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError(
            f"its pixels are {values.min()} to {values.max()}, expected 8 or 16 bits of grey"
        )
    return Image.fromarray(values.astype(np.uint16))
