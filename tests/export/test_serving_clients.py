"""Clients of docs/guides/serving.md against substitutes of TensorFlow Serving.

The substitutes run a SavedModel behind its gRPC service and its REST address.
"""

import base64
import contextlib
import functools
import http.server
import io
import json
import re
import threading
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.export import exported

DOCUMENT = Path(__file__).parents[2] / "docs" / "guides" / "serving.md"
LABELS = set(map(float, exported.NAMES))


@pytest.fixture
def images_here(tmp_path, monkeypatch):
    """Change to a working directory with the images of the examples."""
    for name, source in [("photo.jpg", "a.jpg"), ("one.jpg", "a.jpg"), ("two.png", "b.png")]:
        (tmp_path / name).write_bytes((exported.images() / source).read_bytes())
    monkeypatch.chdir(tmp_path)


def example(heading, port):
    """Return the Python code of a section, with the address of the test's server."""
    section = DOCUMENT.read_text().split(f"### {heading}\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    assert "localhost:850" in code
    return re.sub(r"localhost:850\d", f"localhost:{port}", code)


@functools.cache
def signature():
    return exported.loaded("encoded_image_string_tensor").signatures["serving_default"]


def serve(files):
    outputs = signature()(input_tensor=tf.constant(files))
    return {name: value.numpy() for name, value in outputs.items()}


class Rest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/models/detector:predict"
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        outputs = serve([base64.b64decode(each["b64"]) for each in request["instances"]])
        rows = range(len(request["instances"]))
        predictions = [{name: v[row].tolist() for name, v in outputs.items()} for row in rows]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"predictions": predictions}).encode())

    def log_message(self, *arguments):
        pass


def test_rest(images_here):
    server = http.server.HTTPServer(("localhost", 0), Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example("REST", server.server_port), {})
    server.shutdown()
    expected = serve([Path("photo.jpg").read_bytes()])
    lines = printed.getvalue().splitlines()
    assert len(lines) == expected["num_detections"][0] > 1
    label, score, *_ = lines[0].split()
    assert float(label) == expected["detection_classes"][0, 0]
    assert float(label) in LABELS
    np.testing.assert_allclose(float(score), expected["detection_scores"][0, 0], rtol=1e-5)


def test_grpc(images_here):
    """Needs the client package."""
    grpc = pytest.importorskip("grpc")
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    from tensorflow_serving.apis import prediction_service_pb2_grpc as service

    class Servicer(service.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802 - the name of the service
            assert request.model_spec.name == "detector"
            assert request.model_spec.signature_name == "serving_default"
            files = tf.make_ndarray(request.inputs["input_tensor"])
            outputs = serve(list(files))
            response = predict_pb2.PredictResponse()
            for name in request.output_filter:
                response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    service.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    names = {}
    exec(example("gRPC", port), names)
    server.stop(None)
    expected = serve([Path(name).read_bytes() for name in ("one.jpg", "two.png")])
    np.testing.assert_allclose(names["boxes"], expected["detection_boxes"], rtol=1e-4, atol=1e-5)
    assert names["boxes"].shape == (2, exported.MAX_DETECTIONS, 4)
    assert set(names["response"].outputs) == set(names["request"].output_filter)
