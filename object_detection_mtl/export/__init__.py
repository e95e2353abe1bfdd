"""Export of detectors: SavedModel, ONNX, OpenVINO."""
