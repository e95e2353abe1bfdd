"""Ask a server of the Open Inference Protocol for the detections in an image; prints JSON.

    python request_detections.py ADDRESS MODEL image.npy config.pbtxt

Reads the model's configuration with Triton's own schema first, and asks for its outputs.
"""

import json
import sys
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient import http
from tritonclient.grpc import model_config_pb2

address, name, image_path, config_path = sys.argv[1:]
config = text_format.Parse(Path(config_path).read_text(), model_config_pb2.ModelConfig())
image = np.load(image_path)
[tensor] = config.input
requested = http.InferInput(tensor.name, image.shape, "UINT8")
requested.set_data_from_numpy(image, binary_data=False)
with http.InferenceServerClient(address, network_timeout=120.0) as client:
    response = client.infer(name, [requested])
answer = {output.name: response.as_numpy(output.name).tolist() for output in config.output}
print(json.dumps({"backend": config.backend, "outputs": answer}))
