"""Runtimes that compute a detector: TensorFlow, OpenVINO, ONNX Runtime."""
