"""Decoder of records: image and ground truth of a tf.train.Example.

Shape letters: N objects of one image, H W the image, K classes without background.

Reads the same keys of a record as the OD API's decoder, as far as detection needs them:

* With a label map, a class text takes precedence over the class number; it is looked up among the
  names, then among the display names. An object whose text is unknown, or whose number is -1, is
  dropped as in the OD API, and counted.
* Absent weights are 1; absent flags are False; absent areas are computed from the boxes.
* Boxes are clipped to the image, and counted if they reached outside by more than a hundredth.
  Boxes without area inside the image are dropped and counted, and so are boxes with a coordinate
  that is not finite or beyond 10: those are pixels or percent, and clipping would make some of
  them boxes of the whole image.
* Grayscale, palette, CMYK and 16-bit images and images with alpha become 8-bit RGB; of an animation
  the first frame is decoded.

An unreadable record is an error that names the image and its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import encoded_size, example_issues, graph_errors
from object_detection_mtl.data.augmentation import IMAGE, Example
from object_detection_mtl.data.auxiliary_labels import LabelMaker
from object_detection_mtl.data.example_format import BOX_KEYS, parsing_spec
from object_detection_mtl.data.image_decoding import decode_rgb_image
from object_detection_mtl.data.image_files import MAX_RECORD_PIXELS
from object_detection_mtl.fields import Batch, Groundtruth, TfExample

UNKNOWN_CLASS = -1
CORRUPT_RECORD = "this record is corrupt, or not a tf.train.Example with the keys of the OD API:"
# More boxes than any known dataset has in one image; labels of 100,000 would take 20 GB.
MAX_BOXES = 10_000
# Objects of a tile of a large image may reach far outside it, but hardly this far.
LARGEST_COORDINATE = 10.0
# Part of the image by which a box reaches outside before its clipping is counted.
CLIPPED_BEYOND = 0.01


@dataclasses.dataclass(frozen=True)
class ExampleLimits:
    """Limits of an example; one beyond them is treated as corrupt.

    Attributes:
        max_image_pixels: height * width of the image.
        max_boxes: number of boxes in the record.
    """

    max_image_pixels: int = MAX_RECORD_PIXELS
    max_boxes: int = MAX_BOXES


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
    limits: ExampleLimits | None = None,
) -> Callable[[dict[str, tf.Tensor], tf.Tensor], Example]:
    """Return a function decode(parsed, place) -> example.

    `parsed` is what `parse` returns; `place` is a scalar string that names the record in messages,
    and identifies it if it has neither source_id nor filename. The example has

        image                    [H, W, 3] uint8
        image_id                 string: the record's source_id, else its filename, else `place`
        groundtruth_boxes        [N, 4] float32, normalized, inside the image
        groundtruth_classes      [N] int32, 1..K
        groundtruth_weights      [N] float32
        groundtruth_is_crowd, groundtruth_difficult, groundtruth_group_of  [N] bool
        groundtruth_area         [N] float32, square pixels
        groundtruth_image_classes  [V] int64, classes that annotators looked for
        issues                   [NUM_ISSUES] int64, see example_issues.py

    Args:
        num_classes: K. A larger class number is an error.
        label_map: items with id, name and display_name; None: class numbers are used.
        prefer_display_name: look class texts up among the display names first.
        stored: reads the auxiliary labels of the record; None: they are not read.
        limits: limits of image size and number of boxes; None for the defaults.

    Returns:
        The function.
    """
    limits = limits or ExampleLimits()
    lookup = _class_lookup(label_map, prefer_display_name) if label_map is not None else None

    def decode(parsed: dict[str, tf.Tensor], place: tf.Tensor) -> Example:
        image_id = _first_nonempty(parsed[TfExample.source_id], parsed[TfExample.filename], place)
        label = tf.where(
            tf.equal(image_id, place),
            place,
            tf.strings.join([graph_errors.printable(image_id), " (", place, ")"]),
        )
        image = decode_image(parsed[TfExample.encoded], label, max_pixels=limits.max_image_pixels)
        checks = [
            _check_number(parsed, limits.max_boxes, label),
            _check_lengths(parsed, lookup is not None, label),
        ]
        with tf.control_dependencies(checks):
            stored_boxes = tf.stack([parsed[key] for key in BOX_KEYS], axis=-1)
        boxes = _clipped(stored_boxes)
        groundtruth = {
            Groundtruth.boxes: boxes,
            Groundtruth.classes: _classes(parsed, lookup, num_classes, label),
            **_details(parsed, boxes, tf.shape(image)),
        }
        example = {IMAGE: image, Batch.image_id: image_id}
        example[Groundtruth.image_classes] = parsed[TfExample.image_class_label]
        if stored is not None:
            for key, value in stored.read(parsed, label).items():
                (groundtruth if key in stored.object_keys else example)[key] = value
        groundtruth, example[Batch.issues] = _drop_invalid(groundtruth, stored_boxes)
        return {**example, **groundtruth}

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


def parse_now(
    serialized: tf.Tensor, place: str, *, stored: LabelMaker | None = None
) -> dict[str, tf.Tensor]:
    """Parse a record outside of a graph; see `parse`.

    Raises:
        ValueError: it is corrupt; the message has `place`.
    """
    try:
        return parse(serialized, stored=stored)
    except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
        # TensorFlow's message quotes the record, which Python may not be able to decode.
        raise ValueError(f"{CORRUPT_RECORD} {place}") from error


def decode_image(
    encoded: tf.Tensor, label: tf.Tensor, *, max_pixels: int = MAX_RECORD_PIXELS
) -> tf.Tensor:
    """Decode JPEG, PNG, BMP, GIF or WebP bytes to [H, W, 3] uint8.

    Args:
        encoded: the bytes of the file.
        label: names the image in messages.
        max_pixels: largest H * W; a larger image is not decoded.

    Returns:
        The image.

    Raises:
        InvalidArgumentError: (when the graph runs) the bytes cannot be decoded, or the image is too
            large; the message names the image.
    """
    nothing = tf.zeros([0, 0, 3], tf.uint8)

    def attempt(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stated = encoded_size.num_pixels(data)
        image = tf.cond(stated <= max_pixels, lambda: decode_rgb_image(data), lambda: nothing)
        # Frames of a GIF may be larger than its header states.
        return tf.maximum(stated, tf.size(image, tf.int64) // 3), image

    num_pixels, image = graph_errors.first_or(
        tf.data.Dataset.from_tensors(encoded).map(attempt), (tf.zeros([], tf.int64), nothing)
    )
    too_large = tf.debugging.Assert(
        num_pixels <= max_pixels,
        [
            f"the image of this record is too large, max_image_pixels is {max_pixels}; image and "
            "pixels:",
            label,
            num_pixels,
        ],
    )
    with tf.control_dependencies([too_large]):
        check = tf.debugging.Assert(
            tf.size(image) > 0,
            [
                "the image of this record cannot be decoded (not an image, truncated or corrupt); "
                "convert the dataset again without it:",
                label,
                "bytes:",
                tf.strings.length(encoded),
            ],
        )
    with tf.control_dependencies([check]):
        return tf.ensure_shape(tf.identity(image), [None, None, 3])


def empty_features(*, stored: LabelMaker | None = None) -> dict[str, tf.Tensor]:
    """Return what `parse` returns for an empty record."""
    nothing = tf.constant(tf.train.Example().SerializeToString())
    return parse(nothing, stored=stored)


def _first_nonempty(*texts: tf.Tensor) -> tf.Tensor:
    result = texts[-1]
    for text in reversed(texts[:-1]):
        result = tf.where(tf.equal(text, ""), result, text)
    return result


def _check_number(parsed: dict[str, tf.Tensor], max_boxes: int, label: tf.Tensor) -> tf.Operation:
    number = tf.size(parsed[TfExample.ymin])
    return tf.debugging.Assert(
        number <= max_boxes,
        [
            f"this image has too many boxes, max_boxes_per_example is {max_boxes}; image and "
            "boxes:",
            label,
            number,
        ],
    )


def _check_lengths(
    parsed: dict[str, tf.Tensor], uses_texts: bool, label: tf.Tensor
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
            "lists of this image differ in length, or its boxes have no classes; convert the "
            "dataset again:",
            label,
            tf.constant(list(lengths)),
            tf.stack(list(lengths.values())),
        ],
        summarize=100,
    )


def is_usable(boxes: np.ndarray) -> np.ndarray:
    """Return whether stored boxes [N, 4] are kept by the decoder, bool [N]."""
    with np.errstate(invalid="ignore"):
        clipped = np.clip(boxes, 0.0, 1.0)
        has_area = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
        return has_area & np.all(np.abs(boxes) <= LARGEST_COORDINATE, axis=1)


def _clipped(boxes: tf.Tensor) -> tf.Tensor:
    # clip_by_value would turn NaN into a number, and _drop_invalid would not find it.
    return tf.where(tf.math.is_finite(boxes), tf.clip_by_value(boxes, 0.0, 1.0), boxes)


def _classes(
    parsed: dict[str, tf.Tensor],
    lookup: tf.lookup.StaticHashTable | None,
    num_classes: int,
    label: tf.Tensor,
) -> tf.Tensor:
    """Return classes [N] int32: 1..K, or UNKNOWN_CLASS."""
    labels, texts = parsed[TfExample.class_label], parsed[TfExample.class_text]
    if lookup is not None:
        labels = _given_or(lookup.lookup(texts), labels)
    valid = (labels >= 1) & (labels <= num_classes) | tf.equal(labels, UNKNOWN_CLASS)
    check = tf.debugging.Assert(
        tf.reduce_all(valid),
        [
            f"class numbers of this image are outside 1..{num_classes} "
            "(num_classes of the model); image and class numbers:",
            label,
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


def _drop_invalid(
    groundtruth: dict[str, tf.Tensor], stored_boxes: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Drop objects of unknown class and unusable boxes; count them, and the clipped boxes.

    Returns:
        The ground truth, and counts [NUM_ISSUES] int64.
    """
    boxes = groundtruth[Groundtruth.boxes]
    # Comparisons with NaN are False, so such boxes are dropped too.
    is_valid = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=-1)
    is_valid &= tf.reduce_all(tf.abs(stored_boxes) <= LARGEST_COORDINATE, axis=-1)
    is_clipped = tf.reduce_any(tf.abs(stored_boxes - boxes) > CLIPPED_BEYOND, axis=-1)
    is_known = tf.not_equal(groundtruth[Groundtruth.classes], UNKNOWN_CLASS)
    rows = tf.where(is_valid & is_known)[:, 0]
    counts = [tf.zeros([], tf.int64)] * example_issues.NUM_ISSUES
    counts[example_issues.UNKNOWN_CLASS] = tf.math.count_nonzero(~is_known)
    counts[example_issues.INVALID_BOX] = tf.math.count_nonzero(is_known & ~is_valid)
    counts[example_issues.CLIPPED_BOX] = tf.math.count_nonzero(is_known & is_valid & is_clipped)
    kept = {key: tf.gather(values, rows) for key, values in groundtruth.items()}
    return kept, tf.stack(counts)


def class_numbers(
    label_map: Iterable[LabelMapItem], *, prefer_display_name: bool = False
) -> dict[str, int]:
    """Return class text -> class number, by name and by display name."""
    items = list(label_map)
    names = {item.name: item.id for item in items if item.name}
    display_names = {item.display_name: item.id for item in items if item.display_name}
    return {**names, **display_names} if prefer_display_name else {**display_names, **names}


def _class_lookup(
    label_map: Iterable[LabelMapItem], prefer_display_name: bool
) -> tf.lookup.StaticHashTable:
    table = class_numbers(label_map, prefer_display_name=prefer_display_name)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(table), tf.string), tf.constant(list(table.values()), tf.int64)
        ),
        default_value=UNKNOWN_CLASS,
    )
