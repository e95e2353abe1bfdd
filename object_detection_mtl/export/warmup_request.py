"""Warm-up request for TensorFlow Serving.

    <saved_model>/assets.extra/tf_serving_warmup_requests

The file has one record, a `tensorflow.serving.PredictionLog` with a gray image. The server detects
on it while it loads the model, so that no client waits for the first optimization of the graph.

The message is encoded by field numbers: the package with its classes requires one version of
TensorFlow, which would be a dependency of the export.
"""

from __future__ import annotations

import os

import tensorflow as tf

from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.serving_inputs import INPUT_NAME, make_encoded_example

FILE_NAME = os.path.join("assets.extra", "tf_serving_warmup_requests")

_IMAGE_SHAPE = (600, 800, 3)
_GRAY = 127
# Field numbers, outermost first: PredictionLog.predict_log, PredictLog.request; model_spec and
# inputs of PredictRequest (inputs is a map, whose entries have a key and a value);
# ModelSpec.signature_name.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS = 1, 2
_KEY, _VALUE = 1, 2
_SIGNATURE_NAME = 3


def write_warmup_request(saved_model: str, options: ExportOptions, signature: str) -> None:
    """Add the request to a SavedModel.

    Args:
        saved_model: Its directory.
        options: Options that it was exported with.
        signature: Name of the signature to call.
    """
    path = os.path.join(saved_model, FILE_NAME)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(_prediction_log(signature, _gray_image(options)))


def _gray_image(options: ExportOptions) -> tf.compat.v1.TensorProto:
    """Return a gray image of 600x800 as the model's input, in a few kilobytes."""
    dtype = options.input.dtype
    if dtype != tf.string:
        # A single value with a shape, which stands for an array filled with it.
        return tf.make_tensor_proto(_GRAY, dtype, [1, *_IMAGE_SHAPE])
    encoded = tf.io.encode_jpeg(tf.fill(_IMAGE_SHAPE, tf.constant(_GRAY, tf.uint8))).numpy()
    if options.input_type == "tf_example":
        encoded = make_encoded_example(encoded)
    return tf.make_tensor_proto([encoded])


def _prediction_log(signature: str, tensor: tf.compat.v1.TensorProto) -> bytes:
    entry = _field(_KEY, INPUT_NAME.encode()) + _field(_VALUE, tensor.SerializeToString())
    model_spec = _field(_SIGNATURE_NAME, signature.encode())
    request = _field(_MODEL_SPEC, model_spec) + _field(_INPUTS, entry)
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of text, bytes or a message, with its length."""
    length_delimited = 2
    return encode_varint(number << 3 | length_delimited) + encode_varint(len(content)) + content


def encode_varint(value: int) -> bytes:
    """Encode a number of at least 0 as protobuf does.

    7 bits a byte, lowest first; the eighth bit is set in all bytes but the last.
    """
    is_last = value < 128
    return bytes([value]) if is_last else bytes([value & 127 | 128]) + encode_varint(value >> 7)
