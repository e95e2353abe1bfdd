"""Labels of the auxiliary tasks that a record brings along (`mtl.label_source: RECORD`).

Shape letters: N objects of one record, W windows, K classes without background, S side of the mask.

The authors' converters store them, and so do those of this package with --write_auxiliary_labels:
windows and closeness as texts of K+1 numbers with three digits, the mask as a list of numbers. They
were made when the record was, of the picture as it was then.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.data.augmentation import Example
from object_detection_mtl.data.auxiliary_labels import LabelOptions
from object_detection_mtl.data.example_format import WINDOW_KEYS
from object_detection_mtl.fields import Groundtruth, TfExample

Parsed = dict[str, tf.Tensor]


def parsing_spec() -> dict[str, tf.io.FixedLenSequenceFeature]:
    """What is parsed of a record besides `example.parsing_spec`; absent lists come out empty."""
    dtypes = {
        **dict.fromkeys((*WINDOW_KEYS, TfExample.edgemask), tf.float32),
        **dict.fromkeys((TfExample.window_labels, TfExample.closeness), tf.string),
        **dict.fromkeys((TfExample.edgemask_height, TfExample.edgemask_width), tf.int64),
    }
    return {
        key: tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
        for key, dtype in dtypes.items()
    }


def closeness(parsed: Parsed, num_classes: int, image_id: tf.Tensor) -> tf.Tensor:
    """[N, K+1], a row for each object of the record.

    Raises (when run):
      InvalidArgumentError: none, or texts that do not fit boxes and classes.
    """
    return _rows(
        parsed[TfExample.closeness],
        tf.size(parsed[TfExample.ymin]),
        num_classes,
        TfExample.closeness,
        image_id,
    )


def of_picture(
    parsed: Parsed, options: LabelOptions, num_classes: int, image_id: tf.Tensor
) -> Example:
    """Windows and mask, the labels that belong to no single object.

    Returns:
      Keys of fields.Groundtruth: window_boxes [W, 4], window_classes [W, K+1], num_windows [] and
      edgemask [2, S, S], as far as the options ask for them. A record of the COCO converter without
      any object has no window: num_windows is 0 and one row of zeros stands for none.

    Raises (when run):
      InvalidArgumentError: labels that are missing or do not fit.
    """
    found: Example = {}
    if options.windows:
        boxes = tf.stack([parsed[key] for key in WINDOW_KEYS], axis=-1)
        number = tf.shape(boxes)[0]
        texts = parsed[TfExample.window_labels]
        rows = _rows(texts, number, num_classes, TfExample.window_labels, image_id)
        missing = tf.maximum(0, 1 - number)
        found[Groundtruth.window_boxes] = tf.pad(boxes, [[0, missing], [0, 0]])
        found[Groundtruth.window_classes] = tf.pad(rows, [[0, missing], [0, 0]])
        found[Groundtruth.num_windows] = number
    if options.foreground:
        found[Groundtruth.edgemask] = _mask(parsed, options.mask_size, image_id)
    return found


def _rows(
    texts: tf.Tensor, number: tf.Tensor, num_classes: int, key: str, image_id: tf.Tensor
) -> tf.Tensor:
    """[number, K+1] from as many texts."""
    width = num_classes + 1
    words = tf.strings.split(texts)
    lengths = words.row_lengths()
    check = tf.debugging.Assert(
        tf.equal(tf.size(texts), number) & tf.reduce_all(tf.equal(lengths, width)),
        [
            f"mtl.label_source is RECORD, but {key} of this picture does not hold one text of "
            f"{width} numbers (num_classes + 1) for each row; make the records with "
            "--write_auxiliary_labels, or set label_source: ON_THE_FLY. Picture, texts, rows:",
            image_id,
            tf.size(texts),
            number,
        ],
    )
    with tf.control_dependencies([check]):
        values = tf.strings.to_number(words.flat_values)
    return tf.reshape(values, [-1, width])


def _mask(parsed: Parsed, mask_size: int, image_id: tf.Tensor) -> tf.Tensor:
    """[2, S, S]."""
    values = parsed[TfExample.edgemask]
    sides = (parsed[TfExample.edgemask_height], parsed[TfExample.edgemask_width])
    fits = tf.equal(tf.size(values), 2 * mask_size**2)
    for side in sides:
        fits &= tf.reduce_all(tf.equal(side, mask_size))
    check = tf.debugging.Assert(
        fits,
        [
            f"mtl.label_source is RECORD, but {TfExample.edgemask} of this picture is not of "
            f"2 x {mask_size} x {mask_size} numbers (mtl.edgemask_size). Picture, numbers, height, "
            "width:",
            image_id,
            tf.size(values),
            *sides,
        ],
    )
    with tf.control_dependencies([check]):
        return tf.reshape(values, [2, mask_size, mask_size])
