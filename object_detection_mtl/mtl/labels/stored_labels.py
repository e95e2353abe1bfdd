"""Labels stored in records, in the layout of the authors' converters.

Shape letters: R rows, K classes without background, S side of the mask.

Soft labels are texts of K+1 numbers with three digits, the mask is a list of numbers. They were
made when the record was written, from the image as it was then.
"""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.fields import TfExample


def soft_label_rows(
    texts: tf.Tensor, number: tf.Tensor, num_classes: int, key: str, image_id: tf.Tensor
) -> tf.Tensor:
    """Return soft labels [R, K+1] from R texts.

    Args:
        texts: string [R].
        number: R that is expected.
        num_classes: K.
        key: feature of the record, for the error.
        image_id: id of the record, for the error.

    Raises:
        InvalidArgumentError: (in the pipeline) texts that do not fit.
    """
    width = num_classes + 1
    words = tf.strings.split(texts)
    lengths = words.row_lengths()
    check = tf.debugging.Assert(
        tf.equal(tf.size(texts), number) & tf.reduce_all(tf.equal(lengths, width)),
        [
            f"mtl.label_source is RECORD, but {key} of this image does not hold one text of "
            f"{width} numbers (num_classes + 1) for each row; make the records with "
            "--write_auxiliary_labels, or set label_source: ON_THE_FLY. Image, texts, rows:",
            image_id,
            tf.size(texts),
            number,
        ],
    )
    with tf.control_dependencies([check]):
        values = tf.strings.to_number(words.flat_values)
    return tf.reshape(values, [-1, width])


def mask_and_weights(
    features: dict[str, tf.Tensor], mask_size: int, image_id: tf.Tensor
) -> tf.Tensor:
    """Return the mask and its weights [2, S, S].

    Args:
        features: parsed record.
        mask_size: S.
        image_id: id of the record, for the error.

    Raises:
        InvalidArgumentError: (in the pipeline) a mask of another size, or none.
    """
    values = features[TfExample.edgemask]
    sides = (features[TfExample.edgemask_height], features[TfExample.edgemask_width])
    fits = tf.equal(tf.size(values), 2 * mask_size**2)
    for side in sides:
        fits &= tf.reduce_all(tf.equal(side, mask_size))
    check = tf.debugging.Assert(
        fits,
        [
            f"mtl.label_source is RECORD, but {TfExample.edgemask} of this image does not hold "
            f"2 x {mask_size} x {mask_size} numbers (mtl.edgemask_size). Image, numbers, height, "
            "width:",
            image_id,
            tf.size(values),
            *sides,
        ],
    )
    with tf.control_dependencies([check]):
        return tf.reshape(values, [2, mask_size, mask_size])
