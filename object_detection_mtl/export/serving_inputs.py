"""What a served model takes: pictures in one of four forms, turned into the detector's inputs.

Shape letters: B batch, H W pictures, h w resized and padded inputs.

The names and tensors are those of the OD API's exporter. Everything here is part of the exported
graph, so it is made of TensorFlow's own operations only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from object_detection_mtl.data.image_decoding import decode_picture
from object_detection_mtl.fields import TfExample

# detector, input tensor -> inputs [B, h, w, 3], true_image_shapes [B, 3]
ToInputs = Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

INPUT_NAME = "input_tensor"


@dataclass(frozen=True)
class InputType:
    """One form of the input.

    Attributes:
        dtype, shape: of the signature's one input.
        to_inputs: what the detector gets from it.
    """

    dtype: tf.DType
    shape: tuple[int | None, ...]
    to_inputs: ToInputs

    def spec(self) -> tf.TensorSpec:
        return tf.TensorSpec(self.shape, self.dtype, name=INPUT_NAME)

    def of_any_batch(self) -> InputType:
        """The same for any number of pictures."""
        return dataclasses.replace(self, shape=(None, *self.shape[1:]))


def from_images(detector: Any, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Pictures [B, H, W, 3] of one size, values 0..255."""
    # Loaders let other shapes pass, and convolutions complain of them in words of their own.
    images = tf.ensure_shape(images, [images.shape[0], None, None, 3])
    if images.shape[0] is None:
        count = _at_least_one(tf.shape(images)[0])
        images = tf.reshape(images, tf.concat([[count], tf.shape(images)[1:]], axis=0))
        images = tf.ensure_shape(images, [None, None, None, 3])
    return detector.preprocess(images)


def from_encoded(detector: Any, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Picture files [B] string of any sizes; see `decode_picture` for the formats.

    Each is decoded and resized by itself, as the training data are. Inputs of different sizes are
    padded with zeros below and to the right, to the largest height and width of the batch.
    """
    encoded = tf.ensure_shape(encoded, [None])
    count = _at_least_one(tf.size(encoded))
    inputs = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, None, 3])
    shapes = tf.TensorArray(tf.int32, count, element_shape=[3])
    known: list[tf.TensorShape] = []

    def add(i: tf.Tensor, inputs: tf.TensorArray, shapes: tf.TensorArray, sides: tf.Tensor) -> Any:
        resized, shape = detector.preprocess(decode_picture(encoded[i])[tf.newaxis])
        known.append(resized.shape[1:3])
        sides = tf.maximum(sides, tf.shape(resized)[1:3])
        return i + 1, inputs.write(i, resized[0]), shapes.write(i, shape[0]), sides

    state = (0, inputs, shapes, tf.zeros([2], tf.int32))
    _, inputs, shapes, sides = tf.while_loop(lambda i, *_: i < count, add, state)
    padded = tf.map_fn(
        lambda i: _padded(inputs.read(i), sides),
        tf.range(count),
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32),
    )
    # A resizer of one fixed size shows in the inputs' shape, and with it in that of the anchors.
    static = functools.reduce(tf.TensorShape.most_specific_compatible_shape, known)
    return tf.ensure_shape(padded, [None, *static, 3]), shapes.stack()


def _at_least_one(count: tf.Tensor) -> tf.Tensor:
    """`count`, or an error: convolutions cannot answer an empty batch, and say so less clearly."""
    message = ["the batch holds no picture; send at least one"]
    with tf.control_dependencies([tf.debugging.Assert(count > 0, message)]):
        return tf.identity(count)


def from_examples(detector: Any, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Serialised `tf.train.Example` records [B] string with the feature `image/encoded`."""
    spec = {TfExample.encoded: tf.io.FixedLenFeature([], tf.string)}
    return from_encoded(detector, tf.io.parse_example(serialized, spec)[TfExample.encoded])


def as_example(encoded: bytes) -> bytes:
    """A picture file as the serialised record that `from_examples` reads."""
    values = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    features = tf.train.Features(feature={TfExample.encoded: values})
    return tf.train.Example(features=features).SerializeToString()


INPUT_TYPES: dict[str, InputType] = {
    "image_tensor": InputType(tf.uint8, (1, None, None, 3), from_images),
    "float_image_tensor": InputType(tf.float32, (None, None, None, 3), from_images),
    "encoded_image_string_tensor": InputType(tf.string, (None,), from_encoded),
    "tf_example": InputType(tf.string, (None,), from_examples),
}


def input_type(name: str) -> InputType:
    """The input type of that name.

    Raises:
        ValueError: there is none, or it needs a model that this package does not build.
    """
    if name == "image_and_boxes_tensor":
        raise ValueError(
            "input type 'image_and_boxes_tensor' is not supported: it is for models that predict "
            f"masks for given boxes; use one of {', '.join(INPUT_TYPES)}"
        )
    if name not in INPUT_TYPES:
        raise ValueError(f"input type {name!r} is unknown; use one of {', '.join(INPUT_TYPES)}")
    return INPUT_TYPES[name]


def _padded(picture: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    missing = sides - tf.shape(picture)[:2]
    return tf.pad(picture, [[0, missing[0]], [0, missing[1]], [0, 0]])
