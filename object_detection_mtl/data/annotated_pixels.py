"""Pixels to which an annotation refers: orientation and size of an annotated image.

The EXIF header of an image file may say that viewers turn it. All commands that read annotated
image files decide here whether boxes were drawn on the turned image. Images in records are as
annotated; their headers are ignored.

Shape letters: H W an image.
"""

from __future__ import annotations

import numpy as np

from object_detection_mtl.data import image_files

# An annotation of a resized copy has the aspect ratio of its image within this factor.
_SAME_RATIO = 0.02


def is_annotated_upright(
    orientation: int, stored: tuple[int, int], annotated: tuple[int, int] | None
) -> bool:
    """Return whether an image was annotated as viewers turn it, and is stored otherwise.

    The size in the annotation decides, also that of a resized copy. If it does not (none is stated,
    both sides are equal, or it fits neither), the annotation was made in a viewer that obeys the
    header, as current tools do.

    Args:
        orientation: EXIF orientation, 1 to 8.
        stored: height and width of the image as it is stored.
        annotated: height and width that the annotation states; None for none.
    """
    if orientation == 1:
        return False
    upright = image_files.upright_size(stored, orientation)
    if annotated is None or upright == stored or annotated == upright:
        return True
    return annotated != stored and (
        is_resized(annotated, upright) or not is_resized(annotated, stored)
    )


def is_resized(annotated: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether two sizes (height, width) have the same aspect ratio, within 2 %."""
    ratio = (annotated[0] / size[0]) / (annotated[1] / size[1])
    return abs(ratio - 1.0) < _SAME_RATIO


def decode_annotated(data: bytes, annotated: tuple[int, int] | None) -> np.ndarray:
    """Decode an image file as its annotation sees it, and as the converters store it.

    Args:
        data: the bytes of the file.
        annotated: height and width that the annotation states; None for none.

    Returns:
        The image, [H, W, 3] uint8 RGB.

    Raises:
        ImageError: see `image_files.decode_image`.
    """
    stored, orientation = image_files.size_and_orientation(data)
    return image_files.decode_image(
        data, apply_exif_orientation=is_annotated_upright(orientation, stored, annotated)
    )


def annotation_size(
    own: tuple[int, int], annotated: tuple[int | None, int | None]
) -> tuple[int, int]:
    """Return the size (height, width) in whose pixels the boxes of an annotation are.

    Args:
        own: size of the image as it was annotated.
        annotated: size that the annotation states. It counts if it is that of a resized copy.
    """
    height, width = annotated
    if height and width and is_resized((height, width), own):
        return height, width
    return own
