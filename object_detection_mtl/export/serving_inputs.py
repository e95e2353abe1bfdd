"""Input types of exported models, as in the OD API's exporter.

Shape letters: B batch, H W images, h w resized and padded inputs.

The code here is traced into the exported graph, so it uses TensorFlow operations only.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from object_detection_mtl.data.image_decoding import decode_rgb_image
from object_detection_mtl.fields import TfExample

# detector, input tensor -> inputs [B, h, w, 3], true_image_shapes [B, 3]
ToInputs = Callable[[Any, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

INPUT_NAME = "input_tensor"
# A file of so many letters and digits at its start is no image; the formats begin with other bytes.
_LENGTH_OF_BASE64 = 32


@dataclass(frozen=True)
class InputType:
    """One input type.

    Attributes:
        dtype: Type of the signature's input.
        shape: Shape of the signature's input.
        to_inputs: Convert the input to the detector's inputs.
    """

    dtype: tf.DType
    shape: tuple[int | None, ...]
    to_inputs: ToInputs

    def spec(self) -> tf.TensorSpec:
        """Return the spec of the signature's input."""
        return tf.TensorSpec(self.shape, self.dtype, name=INPUT_NAME)

    def of_any_batch(self) -> InputType:
        """Return the same type for any batch size."""
        return dataclasses.replace(self, shape=(None, *self.shape[1:]))


def inputs_from_images(detector: Any, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert images [B, H, W, 3] of one size, values 0..255."""
    # Loaders do not check shapes, and the error of a convolution would be less clear.
    images = tf.ensure_shape(images, [images.shape[0], None, None, 3])
    if images.shape[0] is None:
        count = _at_least_one(tf.shape(images)[0])
        images = tf.reshape(images, tf.concat([[count], tf.shape(images)[1:]], axis=0))
        images = tf.ensure_shape(images, [None, None, None, 3])
    return detector.preprocess(images)


def inputs_from_encoded(detector: Any, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert image files [B] string of any sizes; see `decode_rgb_image` for the formats.

    Each image is decoded and resized alone, as in training. Inputs of different sizes are padded
    with zeros at the bottom and right, to the largest height and width of the batch.
    """
    encoded = tf.ensure_shape(encoded, [None])
    count = _at_least_one(tf.size(encoded))
    inputs = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, None, 3])
    shapes = tf.TensorArray(tf.int32, count, element_shape=[3])
    static_sizes: list[tf.TensorShape] = []

    def add(i: tf.Tensor, inputs: tf.TensorArray, shapes: tf.TensorArray, sides: tf.Tensor) -> Any:
        image = decode_rgb_image(_not_base64(encoded[i]))
        resized, shape = detector.preprocess(image[tf.newaxis])
        static_sizes.append(resized.shape[1:3])
        sides = tf.maximum(sides, tf.shape(resized)[1:3])
        return i + 1, inputs.write(i, resized[0]), shapes.write(i, shape[0]), sides

    state = (0, inputs, shapes, tf.zeros([2], tf.int32))
    _, inputs, shapes, sides = tf.while_loop(lambda i, *_: i < count, add, state)
    padded = tf.map_fn(
        lambda i: _pad(inputs.read(i), sides),
        tf.range(count),
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32),
    )
    # A fixed-shape resizer makes the shape of the inputs static, and with it that of the anchors.
    static = functools.reduce(tf.TensorShape.most_specific_compatible_shape, static_sizes)
    return tf.ensure_shape(padded, [None, *static, 3]), shapes.stack()


def _not_base64(encoded: tf.Tensor) -> tf.Tensor:
    """Return the bytes of a file, or fail on base64 text, which TensorFlow Serving decodes."""
    is_text = tf.strings.regex_full_match(
        tf.strings.substr(encoded, 0, _LENGTH_OF_BASE64), f"[A-Za-z0-9+/_-]{{{_LENGTH_OF_BASE64}}}"
    )
    message = [
        "the input is text in base64, not an image file; in JSON requests to TensorFlow Serving "
        'write {"b64": "..."} in place of the text'
    ]
    with tf.control_dependencies([tf.debugging.Assert(~is_text, message)]):
        return tf.identity(encoded)


def inputs_from_examples(detector: Any, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert serialized `tf.train.Example`s [B] string with the feature `image/encoded`."""
    spec = {TfExample.encoded: tf.io.FixedLenFeature([], tf.string)}
    return inputs_from_encoded(detector, tf.io.parse_example(serialized, spec)[TfExample.encoded])


def make_encoded_example(encoded: bytes) -> bytes:
    """Return an image file as the serialized example that `inputs_from_examples` reads."""
    values = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    features = tf.train.Features(feature={TfExample.encoded: values})
    return tf.train.Example(features=features).SerializeToString()


INPUT_TYPES: dict[str, InputType] = {
    "image_tensor": InputType(tf.uint8, (1, None, None, 3), inputs_from_images),
    "float_image_tensor": InputType(tf.float32, (None, None, None, 3), inputs_from_images),
    "encoded_image_string_tensor": InputType(tf.string, (None,), inputs_from_encoded),
    "tf_example": InputType(tf.string, (None,), inputs_from_examples),
}


def find_input_type(name: str) -> InputType:
    """Return the input type of a name.

    Raises:
        ValueError: The type is unknown or unsupported.
    """
    if name == "image_and_boxes_tensor":
        raise ValueError(
            "input type 'image_and_boxes_tensor' is not supported: it is for models that predict "
            f"masks for given boxes; use one of {', '.join(INPUT_TYPES)}"
        )
    if name not in INPUT_TYPES:
        raise ValueError(f"input type {name!r} is unknown; use one of {', '.join(INPUT_TYPES)}")
    return INPUT_TYPES[name]


def _at_least_one(count: tf.Tensor) -> tf.Tensor:
    """Return `count`, or fail on an empty batch with a clearer error than a convolution's."""
    message = ["the batch is empty; send at least one image"]
    with tf.control_dependencies([tf.debugging.Assert(count > 0, message)]):
        return tf.identity(count)


def _pad(image: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    missing = sides - tf.shape(image)[:2]
    return tf.pad(image, [[0, missing[0]], [0, missing[1]], [0, 0]])
