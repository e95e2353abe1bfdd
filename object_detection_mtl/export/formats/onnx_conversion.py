"""The detector as one ONNX file, for runtimes that are not TensorFlow.

    <output>/model.onnx

Input and outputs have the names, types and shapes of the SavedModel; suppression is inside, and the
pictures' size is free. The file's own metadata has, under `metadata`, the text of metadata.json,
with the names of the classes. Needs the extra `onnx`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from object_detection_mtl import optional_packages
from object_detection_mtl.export.formats import onnx_crops
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.ops import lowering

FILE_NAME = "model.onnx"
FILES = (FILE_NAME,)
# The newest that the runtimes of the last three years all read.
OPSET = 17


def require_converter() -> None:
    """Asks for tf2onnx before anything takes time.

    Raises:
        ValueError: it is not installed.
    """
    optional_packages.import_package("tf2onnx", "onnx", "writing ONNX needs tf2onnx")


def convert(module: Any) -> Any:
    """A `module.DetectionModule`, or one with more inputs, as an `onnx.ModelProto`.

    Args:
        module: whose function has not been called yet: it is traced here, for ONNX.
    """
    import tf2onnx  # an extra

    with lowering.for_onnx():
        detect = freezing.optimized(module).detect
        model, _ = tf2onnx.convert.from_function(
            detect,
            input_signature=detect.input_signature,
            opset=OPSET,
            custom_op_handlers={
                "SelectV2": (_choose, []),
                onnx_crops.OPERATION: (onnx_crops.translate, []),
            },
        )
    return model


def _choose(context: Any, node: Any, name: str, arguments: Any) -> None:
    """`tf.where` as ONNX has it; tf2onnx would multiply, and -inf times 0 is not a number."""
    node.type = "Where"


def write(model: Any, directory: str, description: Mapping[str, Any]) -> None:
    """Args:
    model: of `convert`.
    directory: where FILES are written.
    description: of `metadata.describe`.
    """
    model.producer_name = "object_detection_mtl"
    entry = model.metadata_props.add()
    entry.key, entry.value = "metadata", json.dumps(description)
    with tf.io.gfile.GFile(os.path.join(directory, FILE_NAME), "wb") as file:
        file.write(model.SerializeToString())
