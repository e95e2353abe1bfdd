"""A model repository served by MLServer, over the protocol that Triton and OpenVINO's server have.

The server and its client are installed into an environment of their own.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import numpy as np
import pytest

import object_detection_mtl as odm
from object_detection_mtl.export.runtimes import runtime_models
from tests.export import exported

SERVERS = Path(__file__).parent / "servers"
PACKAGES = ["mlserver>=1.7,<2", "onnxruntime", "tritonclient[grpc,http]"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server_bin(tmp_path_factory):
    """Return the directory of the commands of an environment with the server."""
    directory = tmp_path_factory.mktemp("server")
    venv.create(directory, with_pip=True)
    done = subprocess.run(
        [directory / "bin" / "python", "-m", "pip", "install", "-q", *PACKAGES],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"{PACKAGES} cannot be installed: {done.stderr[-300:]}")
    return directory / "bin"


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports


def wait_until_ready(port, server):
    for _ in range(240):
        assert server.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/detector/ready", timeout=5)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server is not ready after two minutes")


def test_a_served_model_gives_the_detections_of_the_file(server_bin, tmp_path):
    exported.run()
    detector = odm.load_detector(exported.MODEL_DIR, config=exported.CONFIG_PATH)
    repository = tmp_path / "models"
    path = odm.export_detector(
        detector, tmp_path / "exported", format="onnx", model_repository=repository
    )
    settings = {"implementation": "onnx_model.OnnxModel", "parameters": {"uri": "1/model.onnx"}}
    (repository / "detector" / "model-settings.json").write_text(
        json.dumps({"name": "detector", **settings})
    )
    port, *others = free_ports(3)
    ports = dict(zip(["http_port", "grpc_port", "metrics_port"], [port, *others], strict=True))
    (repository / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports})
    )
    image = np.random.default_rng(1).integers(0, 255, (1, 64, 80, 3)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image)
    environment = {**os.environ, "PYTHONPATH": str(SERVERS)}
    with subprocess.Popen(
        [server_bin / "mlserver", "start", repository], env=environment, stdout=sys.stderr
    ) as server:
        try:
            wait_until_ready(port, server)
            done = subprocess.run(
                [
                    server_bin / "python",
                    SERVERS / "request_detections.py",
                    f"127.0.0.1:{port}",
                    "detector",
                    tmp_path / "image.npy",
                    repository / "detector" / "config.pbtxt",
                ],
                capture_output=True,
                text=True,
                timeout=300,
            )
        finally:
            server.terminate()
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["backend"] == "onnxruntime"
    expected = runtime_models.load_model(path).run({"input_tensor": image})
    assert set(answer["outputs"]) == set(expected)
    assert expected["num_detections"][0] > 1
    for name, values in expected.items():
        # MLServer writes [1] as [1, 1].
        found = np.reshape(answer["outputs"][name], values.shape)
        np.testing.assert_allclose(found, values, atol=1e-5, err_msg=name)
