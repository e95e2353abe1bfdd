"""Warm-up request, parsed with the official messages and run on its model."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.export import serving_inputs, warmup_request
from tests.export import exported


def request(directory):
    prediction_log = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = str(directory / "saved_model" / warmup_request.FILE_NAME)
    [record] = tf.data.TFRecordDataset(path).as_numpy_iterator()
    assert len(record) < 10_000
    log = prediction_log.PredictionLog.FromString(record)
    assert log.WhichOneof("log_type") == "predict_log"
    # There are no unknown fields.
    assert len(log.SerializeToString()) == len(record)
    return log.predict_log.request


@pytest.mark.parametrize("input_type", list(serving_inputs.INPUT_TYPES))
def test_the_model_runs_on_its_warmup_request(input_type):
    asked = request(exported.export(input_type))
    assert asked.model_spec.signature_name == "serving_default"
    assert list(asked.inputs) == ["input_tensor"]
    given = tf.make_ndarray(asked.inputs["input_tensor"])
    if input_type in ("image_tensor", "float_image_tensor"):
        assert given.shape == (1, 600, 800, 3)
        assert np.all(given == 127)
    else:
        assert given.shape == (1,)
    serve = exported.loaded(input_type).signatures[asked.model_spec.signature_name]
    assert serve(input_tensor=tf.constant(given))["num_detections"].shape == (1,)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_numbers_are_encoded_in_seven_bits_a_byte(value, expected):
    assert warmup_request.encode_varint(value) == expected
