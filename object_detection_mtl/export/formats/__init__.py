"""Export formats of other runtimes: ONNX, OpenVINO."""
