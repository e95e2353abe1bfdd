"""TensorFlow Serving's C++ loader, in a process without TensorFlow's Python."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.tools import saved_model_utils

from tests.export import cpp_loader, exported

LIBRARY = Path(tf.__file__).parent / "libtensorflow_cc.so.2"
pytestmark = pytest.mark.skipif(
    not LIBRARY.exists(), reason="this TensorFlow has its C interface elsewhere"
)


def run(directory, request, answer):
    """Return the outputs of the signature, or the error output of a failed process."""
    graph = saved_model_utils.get_meta_graph_def(str(directory), "serve")
    signature = graph.signature_def["serving_default"]
    names = {
        "input": signature.inputs["input_tensor"].name,
        "outputs": {name: value.name for name, value in signature.outputs.items()},
    }
    request_path = answer.with_suffix(".json")
    request_path.write_text(json.dumps(request | names))
    arguments = [cpp_loader.__file__, LIBRARY, directory, request_path, answer]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=600
    )
    return np.load(answer) if done.returncode == 0 else done.stderr


def assert_same(found, expected):
    assert set(found) == set(expected) >= {"detection_boxes", "raw_detection_scores"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_an_array(tmp_path):
    shape, value = [1, 50, 60, 3], 90
    directory = exported.export("image_tensor") / "saved_model"
    found = run(directory, {"shape": shape, "value": value}, tmp_path / "answer.npz")
    serve = exported.loaded("image_tensor").signatures["serving_default"]
    assert_same(found, serve(input_tensor=tf.fill(shape, tf.constant(value, tf.uint8))))


@pytest.mark.slow
def test_image_files_and_an_unreadable_one(tmp_path):
    names = [str(exported.images() / name) for name in ("a.jpg", "b.png")]
    directory = exported.export("encoded_image_string_tensor") / "saved_model"
    found = run(directory, {"files": names}, tmp_path / "answer.npz")
    serve = exported.loaded("encoded_image_string_tensor").signatures["serving_default"]
    assert_same(found, serve(input_tensor=tf.constant([Path(n).read_bytes() for n in names])))
    assert found["num_detections"].max() > 0
    (tmp_path / "no.jpg").write_bytes(b"no image")
    message = run(directory, {"files": [str(tmp_path / "no.jpg")]}, tmp_path / "none.npz")
    assert isinstance(message, str)
    assert "Unknown image file format" in message
    assert "StatefulPartitionedCall" in message
