"""A request that TensorFlow Serving answers itself before it lets others in.

    <saved_model>/assets.extra/tf_serving_warmup_requests

holds one record, a `tensorflow.serving.PredictionLog` with a grey picture. The server detects on it
while it loads the model, so that the first user does not wait for the graph to be optimised.

The message is written by its field numbers: the package that has its classes is tied to one version
of TensorFlow, and exporting should not be.
"""

from __future__ import annotations

import os

import tensorflow as tf

from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.serving_inputs import INPUT_NAME, as_example

FILE_NAME = os.path.join("assets.extra", "tf_serving_warmup_requests")

_PICTURE_SHAPE = (600, 800, 3)
_GREY = 127
# Field numbers, from the outside in: PredictionLog.predict_log, PredictLog.request,
# PredictRequest's model_spec and inputs (a map, whose entries have a key and a value), and
# ModelSpec.signature_name.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS = 1, 2
_KEY, _VALUE = 1, 2
_SIGNATURE_NAME = 3


def write(saved_model: str, options: ExportOptions, signature: str) -> None:
    """Adds the request to a SavedModel.

    Args:
        saved_model: its directory.
        options: what it was exported with.
        signature: name of the signature to call.
    """
    path = os.path.join(saved_model, FILE_NAME)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(_prediction_log(signature, _picture(options)))


def _picture(options: ExportOptions) -> tf.compat.v1.TensorProto:
    """A grey picture of 600x800 in the form that the model takes: a kilobyte or a few."""
    dtype = options.input.dtype
    if dtype != tf.string:
        # One value and a shape: nothing is repeated in the file.
        return tf.make_tensor_proto(_GREY, dtype, [1, *_PICTURE_SHAPE])
    encoded = tf.io.encode_jpeg(tf.fill(_PICTURE_SHAPE, tf.constant(_GREY, tf.uint8))).numpy()
    if options.input_type == "tf_example":
        encoded = as_example(encoded)
    return tf.make_tensor_proto([encoded])


def _prediction_log(signature: str, tensor: tf.compat.v1.TensorProto) -> bytes:
    entry = _field(_KEY, INPUT_NAME.encode()) + _field(_VALUE, tensor.SerializeToString())
    model_spec = _field(_SIGNATURE_NAME, signature.encode())
    request = _field(_MODEL_SPEC, model_spec) + _field(_INPUTS, entry)
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """A field with its length: text, bytes or a message."""
    length_delimited = 2
    return _varint(number << 3 | length_delimited) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last byte have the eighth set."""
    last = value < 128
    return bytes([value]) if last else bytes([value & 127 | 128]) + _varint(value >> 7)
