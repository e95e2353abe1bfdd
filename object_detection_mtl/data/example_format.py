"""tf.train.Example in the OD API's format: build and parse.

Shape letters: N objects of one image.

The keys are those of the OD API's records, so both read each other's records. Boxes are fractions
of the image's height and width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import TfExample

BOX_KEYS = (TfExample.ymin, TfExample.xmin, TfExample.ymax, TfExample.xmax)
WINDOW_KEYS = TfExample.window_box


def build_example(
    *,
    encoded: bytes,
    image_format: str,
    height: int,
    width: int,
    filename: str,
    source_id: str,
    boxes: np.ndarray,
    class_texts: Sequence[str],
    class_labels: Sequence[int],
    **optional: Sequence | None,
) -> tf.train.Example:
    """Build the record of one image.

    Args:
        encoded: bytes of a JPEG or PNG file.
        image_format: "jpeg" or "png".
        height: in pixels.
        width: in pixels.
        filename: name of the image file.
        source_id: identifier of the image in evaluation.
        boxes: [N, 4] ymin, xmin, ymax, xmax, normalized to 0..1.
        class_texts: N names of the label map.
        class_labels: N numbers of the label map, 1..K.
        **optional: N values each of difficult, truncated, is_crowd, group_of (flags), area (square
            pixels), weight (floats), view (texts); an absent name or None is not written.

    Returns:
        The record.

    Raises:
        ValueError: the length of a list is not N.
        KeyError: an optional name is unknown.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    lists: dict[str, Sequence] = {
        TfExample.class_text: [text.encode() for text in class_texts],
        TfExample.class_label: [int(label) for label in class_labels],
    }
    for name, values in optional.items():
        if values is not None:
            key, convert = _OPTIONAL[name]
            lists[key] = [convert(value) for value in values]
    for key, values in lists.items():
        if len(values) != len(boxes):
            raise ValueError(f"{key} has {len(values)} values for {len(boxes)} boxes")
    features = {
        TfExample.encoded: _feature([encoded]),
        TfExample.format: _feature([image_format.encode()]),
        TfExample.height: _feature([height]),
        TfExample.width: _feature([width]),
        TfExample.filename: _feature([filename.encode()]),
        TfExample.source_id: _feature([source_id.encode()]),
        TfExample.sha256: _feature([hashlib.sha256(encoded).hexdigest().encode()]),
    }
    features.update(_columns(BOX_KEYS, boxes))
    features.update({key: _feature(values) for key, values in lists.items()})
    return tf.train.Example(features=tf.train.Features(feature=features))


def add_auxiliary_labels(
    example: tf.train.Example,
    *,
    windows: np.ndarray,
    window_labels: Sequence[str],
    closeness: Sequence[str],
    edgemask: np.ndarray,
) -> None:
    """Add auxiliary labels to a record, under the authors' keys.

    Args:
        example: from `build_example`, changed in place.
        windows: [W, 4], normalized.
        window_labels: W texts of K+1 numbers, from `mtl.labels.to_text`.
        closeness: N texts of K+1 numbers, one for each stored object.
        edgemask: [2, S, S], the mask and the weight of its cells.

    Raises:
        ValueError: a list has another length, or the mask another shape.
    """
    num_boxes = len(example.features.feature[TfExample.ymin].float_list.value)
    for key, texts, number in (
        (TfExample.window_labels, window_labels, len(windows)),
        (TfExample.closeness, closeness, num_boxes),
    ):
        if len(texts) != number:
            raise ValueError(f"{key} has {len(texts)} values, expected {number}")
    if edgemask.ndim != 3 or edgemask.shape[0] != 2:
        raise ValueError(f"edgemask has the shape {edgemask.shape}, expected [2, height, width]")
    features = {
        **_columns(WINDOW_KEYS, windows),
        TfExample.window_labels: _feature([text.encode() for text in window_labels]),
        TfExample.closeness: _feature([text.encode() for text in closeness]),
        TfExample.edgemask: _floats(edgemask.ravel()),
        TfExample.edgemask_height: _feature([edgemask.shape[1]]),
        TfExample.edgemask_width: _feature([edgemask.shape[2]]),
    }
    for key, feature in features.items():
        example.features.feature[key].CopyFrom(feature)


def _columns(keys: Sequence[str], boxes: np.ndarray) -> dict[str, tf.train.Feature]:
    return {key: _floats(column) for key, column in zip(keys, boxes.T, strict=True)}


def _floats(values: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


_OPTIONAL: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "difficult": (TfExample.difficult, int),
    "truncated": (TfExample.truncated, int),
    "is_crowd": (TfExample.is_crowd, int),
    "group_of": (TfExample.group_of, int),
    "area": (TfExample.area, float),
    "weight": (TfExample.weight, float),
    "view": (TfExample.view, str.encode),
}


def _feature(values: Sequence) -> tf.train.Feature:
    """Return a feature of the type of its first value; an empty list has no type."""
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if values:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature()


def feature_values(example: tf.train.Example, key: str) -> list:
    """Return the values of a feature, of whatever type; empty if the record lacks it."""
    if key not in example.features.feature:
        return []
    feature = example.features.feature[key]
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def parsing_spec() -> dict[str, tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature]:
    """Return the parsing specification of the keys that detection needs; absent ones become empty.

    `image/object/truncated` and `image/object/view` are written by converters and never read.
    """

    def one(dtype: tf.DType, default: str) -> tf.io.FixedLenFeature:
        return tf.io.FixedLenFeature([], dtype, default_value=default)

    def many(dtype: tf.DType) -> tf.io.FixedLenSequenceFeature:
        return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)

    texts = (TfExample.encoded, TfExample.source_id, TfExample.filename, TfExample.sha256)
    integers = (
        TfExample.class_label,
        TfExample.is_crowd,
        TfExample.difficult,
        TfExample.group_of,
        TfExample.image_class_label,
    )
    return {
        **{key: one(tf.string, "") for key in texts},
        **{key: many(tf.float32) for key in (*BOX_KEYS, TfExample.area, TfExample.weight)},
        **{key: many(tf.int64) for key in integers},
        TfExample.class_text: many(tf.string),
    }
