"""Pictures as `tf.train.Example`s, as they are read from records and written with detections."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image

from object_detection_mtl.fields import TfExample
from object_detection_mtl.inference.sources import input_files
from object_detection_mtl.inference.sources.input_files import PictureError
from object_detection_mtl.inference.stages import Found

_ORIENTATION = 0x0112  # of the EXIF header
_UPRIGHT = 1
_DETECTION_KEYS = (
    TfExample.detection_ymin,
    TfExample.detection_xmin,
    TfExample.detection_ymax,
    TfExample.detection_xmax,
)


@dataclass(frozen=True)
class Content:
    """A picture that was read.

    Attributes:
        picture: [H, W, 3] uint8.
        image: what images.json tells of it besides number and size; `file_name` at least.
        example: to which detections are added, where that was asked for.
    """

    picture: np.ndarray
    image: Mapping[str, Any]
    example: tf.train.Example | None = None


def parse(serialized: bytes) -> tf.train.Example:
    """Reads a record.

    Raises:
        PictureError: it is none, or without a picture.
    """
    try:
        example = tf.train.Example.FromString(serialized)
    except DecodeError:
        raise PictureError("the record is no tf.train.Example") from None
    if not text(example, TfExample.encoded):
        present = ", ".join(sorted(example.features.feature)[:5]) or "nothing"
        raise PictureError(
            f"the record has no picture under {TfExample.encoded!r} (it has {present})"
        )
    return example


def text(example: tf.train.Example, key: str) -> bytes:
    """The first text of a feature; empty where there is none."""
    # Asked for first: looking a key up would add it.
    if key not in example.features.feature:
        return b""
    values = example.features.feature[key].bytes_list.value
    return values[0] if values else b""


def of_picture(picture: np.ndarray, name: str, encoded: bytes | None) -> tf.train.Example:
    """The example of a picture [H, W, 3] that is not from a record.

    Args:
        name: of the file or the frame.
        encoded: the bytes of a JPEG or PNG file, or None to leave them out.
    """
    example = tf.train.Example()
    features = example.features.feature
    features[TfExample.height].int64_list.value.append(picture.shape[0])
    features[TfExample.width].int64_list.value.append(picture.shape[1])
    for key in (TfExample.filename, TfExample.source_id):
        features[key].bytes_list.value.append(name.encode("utf-8", "surrogateescape"))
    if encoded is not None:
        kind = b"jpeg" if encoded.startswith(b"\xff\xd8") else b"png"
        features[TfExample.encoded].bytes_list.value.append(encoded)
        features[TfExample.format].bytes_list.value.append(kind)
    return example


def as_seen(data: bytes, picture: np.ndarray, *, apply_exif_orientation: bool) -> bytes:
    """A JPEG or PNG file that every reader decodes to the picture that the detector was shown.

    Args:
        data: the file that the picture is from.
        picture: [H, W, 3] uint8, which `pictures.decode` made of it.
        apply_exif_orientation: as it was given then. Readers of records do not turn pictures.
    """
    with Image.open(io.BytesIO(data)) as original:
        was_turned = (
            apply_exif_orientation and original.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
        )
        if original.format in ("JPEG", "PNG") and not was_turned:
            return data
    return input_files.to_png(picture)


def with_detections(example: tf.train.Example, found: Found, *, with_encoded: bool = True) -> bytes:
    """The example with what was found, as the OD API's infer_detections adds it; earlier goes.

    Args:
        example: changed in place, too.
        with_encoded: otherwise the picture is taken out.
    """
    features = example.features.feature
    for key, values in zip(_DETECTION_KEYS, found.boxes.T, strict=True):
        features[key].Clear()
        features[key].float_list.value.extend(values.tolist())
    features[TfExample.detection_score].Clear()
    features[TfExample.detection_score].float_list.value.extend(found.scores.tolist())
    features[TfExample.detection_label].Clear()
    features[TfExample.detection_label].int64_list.value.extend(found.classes.tolist())
    if not with_encoded:
        features.pop(TfExample.encoded, None)
    return example.SerializeToString()
