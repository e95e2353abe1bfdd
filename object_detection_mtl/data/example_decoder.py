"""Decoder of records: image and ground truth of a tf.train.Example.

Shape letters: N objects of one image, H W the image, K classes without background.

Reads the same keys of a record as the OD API's decoder, as far as detection needs them:

* With a label map, a class text takes precedence over the class number; it is looked up among the
  names, then among the display names. An object whose text is unknown, or whose number is -1, is
  dropped as in the OD API, and each unknown text is logged once.
* Absent weights are 1; absent flags are False; absent areas are computed from the boxes.
* Boxes are clipped to the image. Boxes without area inside the image, and boxes that are not
  finite, are dropped.
* Grayscale, palette, CMYK and 16-bit images and images with alpha become 8-bit RGB; of an animation
  the first frame is decoded.

An unreadable record is an error that names the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tensorflow as tf
from absl import logging

from object_detection_mtl.data.augmentation import IMAGE, Example
from object_detection_mtl.data.auxiliary_labels import LabelMaker
from object_detection_mtl.data.example_format import BOX_KEYS, parsing_spec
from object_detection_mtl.data.image_decoding import decode_rgb_image
from object_detection_mtl.fields import Batch, Groundtruth, TfExample

UNKNOWN_CLASS = -1


class LabelMapItem(Protocol):
    """An item of a label map."""

    @property
    def id(self) -> int:
        """Number of the class."""

    @property
    def name(self) -> str:
        """Name of the class, may be empty."""

    @property
    def display_name(self) -> str:
        """Name shown to users, may be empty."""


def make_decoder(
    num_classes: int,
    label_map: Sequence[LabelMapItem] | None = None,
    *,
    prefer_display_name: bool = False,
    stored: LabelMaker | None = None,
) -> Callable[[dict[str, tf.Tensor], tf.Tensor], Example]:
    """Return a function decode(parsed, name) -> example.

    `parsed` is what `parse` returns; `name` is a scalar string that identifies the record if it has
    neither source_id nor filename. The example has

        image                    [H, W, 3] uint8
        image_id                 string: the record's source_id, else its filename, else `name`
        groundtruth_boxes        [N, 4] float32, normalized, inside the image
        groundtruth_classes      [N] int32, 1..K
        groundtruth_weights      [N] float32
        groundtruth_is_crowd, groundtruth_difficult, groundtruth_group_of  [N] bool
        groundtruth_area         [N] float32, square pixels

    Args:
        num_classes: K. A larger class number is an error.
        label_map: items with id, name and display_name; None: class numbers are used.
        prefer_display_name: look class texts up among the display names first.
        stored: reads the auxiliary labels of the record; None: they are not read.

    Returns:
        The function.
    """
    lookup = _class_lookup(label_map, prefer_display_name) if label_map is not None else None

    def decode(parsed: dict[str, tf.Tensor], name: tf.Tensor) -> Example:
        image_id = _first_nonempty(parsed[TfExample.source_id], parsed[TfExample.filename], name)
        image = decode_image(parsed[TfExample.encoded], image_id)
        with tf.control_dependencies([_check_lengths(parsed, lookup is not None, image_id)]):
            boxes = tf.stack([parsed[key] for key in BOX_KEYS], axis=-1)
        boxes = _clipped(boxes)
        groundtruth = {
            Groundtruth.boxes: boxes,
            Groundtruth.classes: _classes(parsed, lookup, num_classes, image_id),
            **_details(parsed, boxes, tf.shape(image)),
        }
        example = {IMAGE: image, Batch.image_id: image_id}
        if stored is not None:
            for key, label in stored.read(parsed, image_id).items():
                (groundtruth if key in stored.object_keys else example)[key] = label
        return {**example, **_drop_invalid(groundtruth)}

    return decode


def parse(serialized: tf.Tensor, *, stored: LabelMaker | None = None) -> dict[str, tf.Tensor]:
    """Parse the features of `example_format.parsing_spec`.

    Args:
        serialized: a serialized tf.train.Example.
        stored: adds the features of its `parsing_spec`.

    Returns:
        Key -> values; absent lists are empty, absent texts ''.
    """
    spec: dict[str, Any] = {**parsing_spec()}
    if stored is not None:
        spec |= stored.parsing_spec()
    return tf.io.parse_single_example(serialized, spec)


def decode_image(encoded: tf.Tensor, image_id: tf.Tensor) -> tf.Tensor:
    """Decode JPEG, PNG, BMP, GIF or WebP bytes to [H, W, 3] uint8.

    Args:
        encoded: the bytes of the file.
        image_id: identifies the image in messages.

    Returns:
        The image.

    Raises:
        InvalidArgumentError: (when the graph runs) the bytes cannot be decoded; the message names
            the image.
    """
    image = first_or(
        tf.data.Dataset.from_tensors(encoded).map(decode_rgb_image), tf.zeros([0, 0, 3], tf.uint8)
    )
    check = tf.debugging.Assert(
        tf.size(image) > 0,
        [
            "the image of this record cannot be decoded (not an image, truncated or corrupt); "
            "convert the dataset again without it:",
            image_id,
            "bytes:",
            tf.strings.length(encoded),
        ],
    )
    with tf.control_dependencies([check]):
        return tf.ensure_shape(tf.identity(image), [None, None, 3])


def first_or(attempt: tf.data.Dataset, fallback: Any) -> Any:
    """Return the first element of `attempt`, or `fallback` if it raises an error.

    TensorFlow's errors name the operation that failed but not the image; with this function the
    caller can name it. It costs about 0.2 ms.
    """
    otherwise = tf.data.Dataset.from_tensors(fallback)
    return attempt.ignore_errors().concatenate(otherwise).take(1).get_single_element()


def empty_features(*, stored: LabelMaker | None = None) -> dict[str, tf.Tensor]:
    """Return what `parse` returns for an empty record."""
    nothing = tf.constant(tf.train.Example().SerializeToString())
    return parse(nothing, stored=stored)


def _first_nonempty(*texts: tf.Tensor) -> tf.Tensor:
    result = texts[-1]
    for text in reversed(texts[:-1]):
        result = tf.where(tf.equal(text, ""), result, text)
    return result


def _check_lengths(
    parsed: dict[str, tf.Tensor], uses_texts: bool, image_id: tf.Tensor
) -> tf.Operation:
    """Assert that every list has one element per box; only boxes and classes are required."""
    number = tf.size(parsed[TfExample.ymin])
    keys = [*BOX_KEYS, TfExample.class_label, *_DETAILS]
    lengths = {key: tf.size(parsed[key]) for key in keys}
    given = lengths[TfExample.class_label]
    if uses_texts:
        lengths[TfExample.class_text] = tf.size(parsed[TfExample.class_text])
        given = tf.maximum(given, lengths[TfExample.class_text])
    fine = tf.equal(given, number)
    for key, length in lengths.items():
        fine &= tf.equal(length, number) | (tf.equal(length, 0) & (key not in BOX_KEYS))
    return tf.debugging.Assert(
        fine,
        [
            "lists of this image differ in length, or its boxes have no classes:",
            image_id,
            tf.constant(list(lengths)),
            tf.stack(list(lengths.values())),
        ],
        summarize=100,
    )


def _clipped(boxes: tf.Tensor) -> tf.Tensor:
    # clip_by_value would turn NaN into a number, and _drop_invalid would not find it.
    return tf.where(tf.math.is_finite(boxes), tf.clip_by_value(boxes, 0.0, 1.0), boxes)


def _classes(
    parsed: dict[str, tf.Tensor],
    lookup: tf.lookup.StaticHashTable | None,
    num_classes: int,
    image_id: tf.Tensor,
) -> tf.Tensor:
    """Return classes [N] int32: 1..K, or UNKNOWN_CLASS."""
    labels, texts = parsed[TfExample.class_label], parsed[TfExample.class_text]
    if lookup is not None:
        found = lookup.lookup(texts)
        with tf.control_dependencies([_log_unknown(texts, found, image_id)]):
            labels = _given_or(found, labels)
    valid = (labels >= 1) & (labels <= num_classes) | tf.equal(labels, UNKNOWN_CLASS)
    check = tf.debugging.Assert(
        tf.reduce_all(valid),
        [
            f"class numbers of this image are outside 1..{num_classes} "
            "(num_classes of the model); image and class numbers:",
            image_id,
            labels,
        ],
        summarize=100,
    )
    with tf.control_dependencies([check]):
        return tf.cast(labels, tf.int32)


# Optional lists.
_DETAILS = (
    TfExample.weight,
    TfExample.is_crowd,
    TfExample.difficult,
    TfExample.group_of,
    TfExample.area,
)


def _details(
    parsed: dict[str, tf.Tensor], boxes: tf.Tensor, shape: tf.Tensor
) -> dict[str, tf.Tensor]:
    height, width = tf.unstack(tf.cast(shape[:2], tf.float32))
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides[:, 0] * height * sides[:, 1] * width
    off = tf.zeros_like(areas, tf.int64)

    def flags(key: str) -> tf.Tensor:
        return tf.not_equal(_given_or(parsed[key], off), 0)

    return {
        Groundtruth.weights: _given_or(parsed[TfExample.weight], tf.ones_like(areas)),
        Groundtruth.is_crowd: flags(TfExample.is_crowd),
        Groundtruth.difficult: flags(TfExample.difficult),
        Groundtruth.group_of: flags(TfExample.group_of),
        Groundtruth.area: _given_or(parsed[TfExample.area], areas),
    }


def _given_or(values: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
    """Return `values` [N], or `default` [N] if it is empty; _check_lengths excludes the rest."""
    return tf.concat([values, default[tf.size(values) :]], axis=0)


def _drop_invalid(groundtruth: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Drop objects of unknown class and boxes that are empty, inverted or not finite."""
    boxes = groundtruth[Groundtruth.boxes]
    # Comparisons with NaN are False, so such boxes are dropped too.
    kept = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=-1)
    kept &= tf.reduce_all(tf.math.is_finite(boxes), axis=-1)
    kept &= tf.not_equal(groundtruth[Groundtruth.classes], UNKNOWN_CLASS)
    rows = tf.where(kept)[:, 0]
    return {key: tf.gather(values, rows) for key, values in groundtruth.items()}


def _class_lookup(
    label_map: Iterable[LabelMapItem], prefer_display_name: bool
) -> tf.lookup.StaticHashTable:
    items = list(label_map)
    names = {item.name: item.id for item in items if item.name}
    display_names = {item.display_name: item.id for item in items if item.display_name}
    table = {**names, **display_names} if prefer_display_name else {**display_names, **names}
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(table), tf.string), tf.constant(list(table.values()), tf.int64)
        ),
        default_value=UNKNOWN_CLASS,
    )


def _log_unknown(texts: tf.Tensor, found: tf.Tensor, image_id: tf.Tensor) -> tf.Operation:
    """Log class texts that the label map lacks, each once in a process."""
    unknown = tf.boolean_mask(texts, tf.equal(found, UNKNOWN_CLASS))
    return tf.cond(
        tf.size(unknown) > 0,
        lambda: tf.numpy_function(_log_each_once, [unknown, image_id], []),
        tf.no_op,
    )


_logged: set[bytes] = set()


def _log_each_once(texts: Sequence[bytes], image_id: bytes) -> None:
    for text in set(texts) - _logged:
        _logged.add(text)
        logging.warning(
            "The label map has no class %r (first found in image %s). Objects of this class are "
            "dropped.",
            text.decode(errors="replace"),
            image_id.decode(errors="replace"),
        )
