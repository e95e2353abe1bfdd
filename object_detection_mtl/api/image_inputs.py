"""Images that a detector is given: paths, Pillow images, arrays, directories.

Shape letters: B images, H W an image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from object_detection_mtl.config.errors import suggestion
from object_detection_mtl.data import image_files

_ACCEPTED = "a path, a Pillow image, or an array [height, width, 3] uint8"


@dataclass(frozen=True)
class GivenImage:
    """An image to detect on.

    Attributes:
        pixels: [H, W, 3] uint8 RGB.
        path: its file, "" if it was not given as a path.
        origin: what was given, for drawing.
    """

    pixels: np.ndarray
    path: str
    origin: Any


def is_single_image(images: Any) -> bool:
    """Return whether `images` is one image, not a list, a batch or a directory."""
    if isinstance(images, str | os.PathLike):
        return not Path(images).expanduser().is_dir()
    if isinstance(images, Image.Image):
        return True
    return not isinstance(images, list | tuple) and np.ndim(images) <= 3


def list_images(images: Any) -> Sequence[Any]:
    """Return the elements of a list, a batch [B, H, W, 3], or the image files of a directory.

    Raises:
        FileNotFoundError: the directory has no image.
        ValueError: the list is empty.
    """
    if isinstance(images, str | os.PathLike):
        from object_detection_mtl.inference.sources import input_files

        return [file.path for file in input_files.find_input_files([os.fspath(images)])]
    if not isinstance(images, list | tuple):
        images = list(np.asarray(images))
    if not images:
        raise ValueError(f"images is an empty list; expected at least one image, each {_ACCEPTED}")
    return images


def read_images(images: Sequence[Any]) -> Iterator[GivenImage]:
    """Yield the images of a list; messages name the position of an unusable one."""
    for number, image in enumerate(images):
        yield read_single_image(image, f"images[{number}]")


def read_single_image(image: Any, name: str = "image") -> GivenImage:
    """Return one image.

    A file is rotated by its EXIF orientation, as viewers show it; a Pillow image or an array is
    taken as it is.

    Args:
        image: a path, a Pillow image of any mode, or an array (or tensor) [H, W, 3] uint8.
        name: name of the argument in messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or the array is not a usable image.
    """
    if isinstance(image, str | os.PathLike):
        return _from_file(Path(image).expanduser(), image)
    if isinstance(image, Image.Image):
        return GivenImage(_from_pillow(image, name), getattr(image, "filename", "") or "", image)
    try:
        pixels = np.asarray(image)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} has the type {type(image).__name__}; expected {_ACCEPTED}"
        ) from error
    if pixels.dtype == object or pixels.ndim == 0:
        raise ValueError(f"{name} has the type {type(image).__name__}; expected {_ACCEPTED}")
    check_pixels(pixels, name)
    return GivenImage(pixels, "", pixels)


def check_pixels(pixels: np.ndarray, name: str) -> None:
    """Check that an array is an image [H, W, 3] uint8.

    Raises:
        ValueError: it has another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        hint = "; repeat a gray image in three channels" if pixels.ndim == 2 else ""
        raise ValueError(
            f"{name} has the shape {list(pixels.shape)}; expected [height, width, 3]{hint}"
        )
    if pixels.dtype != np.uint8:
        hint = ""
        if np.issubdtype(pixels.dtype, np.floating):
            hint = "; convert colors in 0..1 by (255 * image).round().astype('uint8')"
        raise ValueError(
            f"{name} has the dtype {pixels.dtype}; expected uint8, RGB colors in 0..255{hint}"
        )


def _from_file(path: Path, given: Any) -> GivenImage:
    if not path.exists():
        names = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = suggestion(path.name, names) or "; check the path"
        raise FileNotFoundError(f"image {os.fspath(given)!r} does not exist{hint}")
    if path.is_dir():
        raise ValueError(f"{os.fspath(given)!r} is a directory; expected the file of an image")
    try:
        return GivenImage(image_files.read_image(path), os.fspath(path), os.fspath(path))
    except image_files.ImageError as error:
        raise ValueError(f"image {os.fspath(given)!r} cannot be read: {error}") from error


def _from_pillow(image: Image.Image, name: str) -> np.ndarray:
    try:
        return image_files.to_rgb_array(image)
    except (image_files.ImageError, OSError) as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
