"""Image files read with Pillow: encoded for records, decoded for detection.

Shape letters: H W an image.

Does not import TensorFlow. The format of a file is detected from its content, not its name.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

# The largest image that TensorFlow's JPEG decoder accepts: 2**29 bytes of RGB.
MAX_PIXELS = 2**29 // 3
# The formats whose decoders are used, as Pillow names them. None of them starts another program.
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
_FORMAT_LIST = "JPEG, PNG, BMP, GIF, TIFF, WebP, PPM, JPEG 2000 or AVIF"
_HEIC, _AVIF = "HEIC; convert it to JPEG", "AVIF, which this Pillow cannot decode"
_OTHER_FILES = (
    (re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"), "PostScript"),
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"\s*<(!doctype\s+)?html", re.IGNORECASE), "HTML, perhaps a failed download"),
    (re.compile(rb"\s*<\?xml|\s*<svg", re.IGNORECASE), "XML or SVG"),
    (re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif[12]|msf1|miaf)", re.DOTALL), _HEIC),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), _AVIF),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS; run git lfs pull"),
)
_OUT_OF_MEMORY = "too large: there is not enough memory to decode it"
# The largest image of records, in conversion and by default in training, which needs about 40 bytes
# for each pixel.
MAX_RECORD_PIXELS = 120_000_000
_END_OF_JPEG = b"\xff\xd9"
_END_OF_PNG = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_SIDES_EXCHANGED = (5, 6, 7, 8)
# EXIF orientation -> the operation that turns the stored image upright, and its inverse.
_TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_LEFT_RIGHT),
    3: (Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_TOP_BOTTOM),
    5: (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSPOSE),
    6: (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90),
    7: (Image.Transpose.TRANSVERSE, Image.Transpose.TRANSVERSE),
    8: (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270),
}


class ImageError(ValueError):
    """An unusable image; the message has the reason, without the name of the file."""


class CameraFormatError(ImageError):
    """A HEIC file, or an AVIF file where Pillow cannot decode it."""


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An encoded image.

    Attributes:
        data: the bytes of a JPEG or PNG file.
        format: "jpeg" or "png".
        height: in pixels, from the header of the file.
        width: in pixels, from the header of the file.
        reencoded: the file has another format, and `data` is a lossless PNG copy of it.
        orientation: EXIF orientation, 1 to 8: how viewers turn the image. The decoders of training
            pipelines ignore it.
    """

    data: bytes
    format: str
    height: int
    width: int
    reencoded: bool = False
    orientation: int = 1

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width as viewers show the image."""
        return upright_size((self.height, self.width), self.orientation)


def upright_size(stored: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the height and width of an image as viewers show it."""
    return stored[::-1] if orientation in _SIDES_EXCHANGED else stored


def read_encoded_image(path: str | Path, verify: bool = False) -> EncodedImage:
    """Read an image file for a record.

    The bytes of JPEG and PNG files are kept; only their header and their end are read, so a dataset
    is converted at the speed of the disk. Other formats are stored as PNG.

    Args:
        path: the file.
        verify: decode the whole image, which also finds corrupt data in the middle of a file.
            Without it, a truncated file is recognized by its missing end-of-image marker.

    Returns:
        The encoded image.

    Raises:
        ImageError: the file is not an image, truncated, corrupt or larger than
            MAX_RECORD_PIXELS.
        OSError: the file cannot be read.
    """
    data = read_regular_file(path)
    with ignore_size_warnings(), open_image(data) as image:
        if image.width * image.height > MAX_RECORD_PIXELS:
            raise ImageError(
                f"too large: {image.width}x{image.height} pixels, records have at most "
                f"{MAX_RECORD_PIXELS}"
            )
        if image.format not in ("JPEG", "MPO", "PNG"):
            return _as_png(image)
        format_name = "png" if image.format == "PNG" else "jpeg"
        if _has_data_after_end(data, format_name) or verify:
            image.load()  # This also finds the EXIF header of a PNG that has it after the pixels.
        return EncodedImage(
            data=data,
            format=format_name,
            height=image.height,
            width=image.width,
            orientation=exif_orientation(image),
        )


def rotate_upright(encoded: EncodedImage) -> EncodedImage:
    """Return a copy that is turned by its EXIF orientation, without the EXIF header.

    For boxes that were drawn in a viewer that obeys the header.
    """
    with ignore_size_warnings(), open_image(encoded.data) as image:
        image.load()
        upright = image.transpose(_TURNS[encoded.orientation][0])
        buffer = io.BytesIO()
        if encoded.format == "jpeg":
            upright.save(buffer, "JPEG", quality=95, subsampling=0)
        else:
            upright.save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), encoded.format, upright.height, upright.width)


def read_image(path: str | os.PathLike[str], *, apply_exif_orientation: bool = True) -> np.ndarray:
    """Read and decode an image file.

    Args:
        path: the file.
        apply_exif_orientation: see `decode_image`.

    Returns:
        The image, [H, W, 3] uint8 RGB.

    Raises:
        ImageError: see `decode_image`.
        OSError: the file cannot be read.
    """
    return decode_image(read_regular_file(path), apply_exif_orientation=apply_exif_orientation)


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file; a named pipe or a device is not waited for.

    Raises:
        ImageError: the path is not a regular file.
        OSError: the file cannot be read.
    """
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ImageError("not a regular file, but a pipe, a device or a directory")
        return file.read()


def decode_image(data: bytes, *, apply_exif_orientation: bool = True) -> np.ndarray:
    """Decode the bytes of an image file as TensorFlow's decoders do with training data.

    The first frame of an animation is decoded. Grayscale becomes three equal channels, CMYK is
    converted, an alpha channel is dropped, 16 bits are reduced to their upper 8.

    Args:
        data: the bytes of the file.
        apply_exif_orientation: rotate the image by its EXIF orientation, as viewers do.

    Returns:
        The image, [H, W, 3] uint8 RGB.

    Raises:
        ImageError: the data are not an image, truncated, corrupt, of too many pixels, or of values
            that are not colors.
    """
    with open_image(data) as image:
        return to_rgb_array(_loaded(image, upright=apply_exif_orientation))


def size_and_orientation(data: bytes) -> tuple[tuple[int, int], int]:
    """Return height and width of an encoded image as it is stored, and its EXIF orientation.

    Raises:
        ImageError: see `open_image`.
    """
    with ignore_size_warnings(), open_image(data) as image:
        if image.format == "TIFF":  # Pillow gives the size of what viewers show.
            tags = image.tag_v2  # type: ignore[attr-defined]
            return (tags[_TIFF_HEIGHT], tags[_TIFF_WIDTH]), exif_orientation(image)
        return (image.height, image.width), exif_orientation(image)


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Open an encoded image; its header is read, its pixels are not decoded yet.

    Only decoders of FORMATS see the data. Pillow has decoders that start other programs
    (PostScript: Ghostscript). Whatever a decoder raises inside the `with` block is an ImageError.

    Args:
        data: the bytes of the file.

    Yields:
        The image.

    Raises:
        ImageError: the data are not an image of these formats, corrupt, or of more than MAX_PIXELS
            pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=_supported_formats())
    except UnidentifiedImageError as error:
        raise _not_an_image(data) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    except Exception as error:  # decoders raise anything on corrupt data
        raise ImageError(f"the header is unreadable: {_reason(error)}") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"too large: {image.width}x{image.height} pixels, at most {MAX_PIXELS} can be "
                "decoded"
            )
        try:
            yield image
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError(_OUT_OF_MEMORY) from error
        except Exception as error:  # decoders raise anything on corrupt data
            raise ImageError(f"cannot be decoded: {_reason(error)}") from error


def encode_png(image: np.ndarray) -> bytes:
    """Return an image [H, W, 3] uint8 as the bytes of a PNG file, compressed little and fast."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@contextmanager
def ignore_size_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings of large images (half of MAX_PIXELS and more) and of headers.

    Warning filters belong to the process: enter this once around threads, not in each of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Of corrupt EXIF headers and the like, without the name of the file.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _reason(error: Exception) -> str:
    """Return the message of an error in one line, its type if it has no text."""
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


@functools.cache
def _supported_formats() -> tuple[str, ...]:
    """Return the names of FORMATS that the installed Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _not_an_image(data: bytes) -> ImageError:
    """Return an error without bytes of the file, which may be a link to any other file."""
    kind = next((kind for pattern, kind in _OTHER_FILES if pattern.match(data)), None)
    is_kind = f"it is {kind}; " if kind else ""
    error = CameraFormatError if kind in (_HEIC, _AVIF) else ImageError
    return error(f"not an image of a supported format ({is_kind}expected {_FORMAT_LIST})")


def count_camera_formats(reasons: Iterable[str]) -> int:
    """Return the number of messages of `CameraFormatError`."""
    return sum(f"it is {_HEIC};" in reason or f"it is {_AVIF};" in reason for reason in reasons)


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if there is none."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a corrupt EXIF header does not matter to the pixels
        return 1
    return value if value in _TURNS else 1


def _loaded(image: Image.Image, *, upright: bool) -> Image.Image:
    """Return the decoded image, as it is stored or upright; Pillow turns TIFF by itself."""
    orientation = exif_orientation(image)
    image.load()
    orientation = max(orientation, exif_orientation(image))
    if orientation == 1:
        return image
    is_turned = image.format == "TIFF" and exif_orientation(image) == 1
    if upright == is_turned:
        return image
    return image.transpose(_TURNS[orientation][0 if upright else 1])


def _has_data_after_end(data: bytes, format_name: str) -> bool:
    """Return whether anything but zeros follows the end marker; then only decoding can verify it.

    Raises:
        ImageError: there is no end marker.
    """
    marker = _END_OF_PNG if format_name == "png" else _END_OF_JPEG
    if data.endswith(marker):
        return False
    if marker not in data:
        raise ImageError("the file is truncated: it has no end-of-image marker")
    return bool(data[data.rfind(marker) + len(marker) :].strip(b"\x00"))


def _as_png(image: Image.Image) -> EncodedImage:
    """Encode the first frame as PNG, which every reader of records decodes."""
    orientation = exif_orientation(image)
    image = _loaded(image, upright=False)
    if _is_deep(image):
        image = Image.fromarray(_sixteen_bit_values(image))
    elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return EncodedImage(
        buffer.getvalue(),
        "png",
        image.height,
        image.width,
        reencoded=True,
        orientation=orientation,
    )


def to_rgb_array(image: Image.Image) -> np.ndarray:
    """Return a Pillow image as [H, W, 3] uint8 RGB; see `decode_image` for other modes.

    Raises:
        ImageError: its values are not colors.
    """
    if not _is_deep(image):
        return np.array(image.convert("RGB"))
    gray = (_sixteen_bit_values(image) >> 8).astype(np.uint8)
    return np.repeat(gray[:, :, np.newaxis], 3, axis=2)


def _is_deep(image: Image.Image) -> bool:
    """Return whether Pillow would clip the pixels at 255 instead of scaling them."""
    return image.mode == "F" or image.mode.startswith("I")


def _sixteen_bit_values(image: Image.Image) -> np.ndarray:
    """Return 16-bit grayscale pixels [H, W] uint16, in whatever mode Pillow reads them."""
    if image.mode == "F":
        raise ImageError("the pixels are floating-point numbers of unknown range")
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError(
            f"the pixels are {values.min()} to {values.max()}, expected 8 or 16 bits of gray"
        )
    return values.astype(np.uint16)
