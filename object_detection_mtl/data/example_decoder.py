"""From a serialised record to a picture and its ground truth.

Shape letters: N objects of one picture, H W the picture, K classes without background.

Reads what the OD API's decoder reads of a record, as far as boxes need it:

* A class text wins over the class number where a label map is given; it is looked up among the
  names, then among the display names. An object whose text is unknown, or whose number is -1, is
  left out, as the OD API does, and each unknown text is logged once.
* Absent weights are 1; absent flags are False; absent areas are computed from the boxes.
* Boxes are clipped to the picture. Those of which nothing is left, or that are not finite, are
  left out.
* Grey, palette, CMYK, 16-bit pictures and pictures with alpha come out as 8-bit RGB; of an
  animation, the first frame.

A record that cannot be used is an error that names the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import tensorflow as tf
from absl import logging

from object_detection_mtl.data.augmentation import IMAGE, Example
from object_detection_mtl.data.auxiliary_labels import LabelMaker
from object_detection_mtl.data.example_format import BOX_KEYS, parsing_spec
from object_detection_mtl.data.image_decoding import decode_picture
from object_detection_mtl.fields import Batch, Groundtruth, TfExample

UNKNOWN_CLASS = -1


class LabelMapItem(Protocol):
    """What is read of an item of a label map."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def display_name(self) -> str: ...


def make_decoder(
    num_classes: int,
    label_map: Sequence[LabelMapItem] | None = None,
    *,
    prefer_display_name: bool = False,
    stored: LabelMaker | None = None,
) -> Callable[[dict[str, tf.Tensor], tf.Tensor], Example]:
    """Returns decode(parsed, name) -> example.

    `parsed` is what `parse` returns, `name` a scalar string that identifies the record where it
    does not do so itself. The example holds

        image                    [H, W, 3] uint8
        image_id                 string: the record's source_id, else its filename, else `name`
        groundtruth_boxes        [N, 4] float32, normalised, inside the picture
        groundtruth_classes      [N] int32, 1..K
        groundtruth_weights      [N] float32
        groundtruth_is_crowd, groundtruth_difficult, groundtruth_group_of  [N] bool
        groundtruth_area         [N] float32, square pixels

    Args:
      num_classes: K. A class number beyond it is an error.
      label_map: items with id, name and display_name; None: the class numbers count.
      prefer_display_name: look class texts up among the display names first.
      stored: reads the auxiliary labels that the record stores; None: adds none.
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
        return {**example, **_usable(groundtruth)}

    return decode


def parse(serialized: tf.Tensor, *, stored: LabelMaker | None = None) -> dict[str, tf.Tensor]:
    """Parses the features of `example.parsing_spec`; absent lists are empty, absent texts ''.

    stored: adds the features of its `parsing_spec`.
    """
    spec: dict[str, Any] = {**parsing_spec()}
    if stored is not None:
        spec |= stored.parsing_spec()
    return tf.io.parse_single_example(serialized, spec)


def decode_image(encoded: tf.Tensor, image_id: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG, PNG, BMP, GIF or WebP bytes to [H, W, 3] uint8.

    Raises (when run):
      InvalidArgumentError: bytes that cannot be decoded; the message names the picture.
    """
    image = first_or(
        tf.data.Dataset.from_tensors(encoded).map(decode_picture), tf.zeros([0, 0, 3], tf.uint8)
    )
    check = tf.debugging.Assert(
        tf.size(image) > 0,
        [
            "the picture of this record cannot be decoded (no picture, cut short or damaged); "
            "make the record file again without it:",
            image_id,
            "bytes:",
            tf.strings.length(encoded),
        ],
    )
    with tf.control_dependencies([check]):
        return tf.ensure_shape(tf.identity(image), [None, None, 3])


def first_or(attempt: tf.data.Dataset, fallback: Any) -> Any:
    """The first element of `attempt`, or `fallback` where making it fails: try and except.

    TensorFlow's own errors tell which operation failed but not for which picture; with this the
    caller can say so. It costs about 0.2 ms.
    """
    otherwise = tf.data.Dataset.from_tensors(fallback)
    return attempt.ignore_errors().concatenate(otherwise).take(1).get_single_element()


def empty_features(*, stored: LabelMaker | None = None) -> dict[str, tf.Tensor]:
    """What `parse` returns for a record that holds nothing."""
    nothing = tf.constant(tf.train.Example().SerializeToString())
    return parse(nothing, stored=stored)


def _first_nonempty(*texts: tf.Tensor) -> tf.Tensor:
    result = texts[-1]
    for text in reversed(texts[:-1]):
        result = tf.where(tf.equal(text, ""), result, text)
    return result


def _check_lengths(
    parsed: dict[str, tf.Tensor], texts_count: bool, image_id: tf.Tensor
) -> tf.Operation:
    """Every list has an element per box; all but coordinates and classes may be absent."""
    number = tf.size(parsed[TfExample.ymin])
    keys = [*BOX_KEYS, TfExample.class_label, *_DETAILS]
    lengths = {key: tf.size(parsed[key]) for key in keys}
    given = lengths[TfExample.class_label]
    if texts_count:
        lengths[TfExample.class_text] = tf.size(parsed[TfExample.class_text])
        given = tf.maximum(given, lengths[TfExample.class_text])
    fine = tf.equal(given, number)
    for key, length in lengths.items():
        fine &= tf.equal(length, number) | (tf.equal(length, 0) & (key not in BOX_KEYS))
    return tf.debugging.Assert(
        fine,
        [
            "lists of this picture differ in length, or its boxes have no classes:",
            image_id,
            tf.constant(list(lengths)),
            tf.stack(list(lengths.values())),
        ],
        summarize=100,
    )


def _clipped(boxes: tf.Tensor) -> tf.Tensor:
    # clip_by_value would turn NaN into a number, and _usable would not see it.
    return tf.where(tf.math.is_finite(boxes), tf.clip_by_value(boxes, 0.0, 1.0), boxes)


def _classes(
    parsed: dict[str, tf.Tensor],
    lookup: tf.lookup.StaticHashTable | None,
    num_classes: int,
    image_id: tf.Tensor,
) -> tf.Tensor:
    """Classes [N] int32: 1..K, or UNKNOWN_CLASS."""
    labels, texts = parsed[TfExample.class_label], parsed[TfExample.class_text]
    if lookup is not None:
        found = lookup.lookup(texts)
        with tf.control_dependencies([_log_unknown(texts, found, image_id)]):
            labels = _given_or(found, labels)
    valid = (labels >= 1) & (labels <= num_classes) | tf.equal(labels, UNKNOWN_CLASS)
    check = tf.debugging.Assert(
        tf.reduce_all(valid),
        [
            f"class numbers of this picture are outside 1..{num_classes} "
            "(num_classes of the model); picture and class numbers:",
            image_id,
            labels,
        ],
        summarize=100,
    )
    with tf.control_dependencies([check]):
        return tf.cast(labels, tf.int32)


# Lists that may be absent.
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
    """`values` [N], or `default` [N] where `values` is empty; other lengths were refused before."""
    return tf.concat([values, default[tf.size(values) :]], axis=0)


def _usable(groundtruth: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Leaves out objects of unknown class and boxes that are empty, inverted or not finite."""
    boxes = groundtruth[Groundtruth.boxes]
    # Comparisons with NaN are False, so such boxes go too.
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
    """Logs class texts that the label map lacks, each once in a process."""
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
            "The label map has no class %r (first met in picture %s). Objects of this class are "
            "left out.",
            text.decode(errors="replace"),
            image_id.decode(errors="replace"),
        )
