"""Conversion of a detector to OpenVINO's intermediate representation.

    <output>/model.xml, model.bin

Input and outputs have the names, types and shapes of the SavedModel; suppression is included, and
images may have any size. The model's runtime information has the text of metadata.json under
`metadata`. Needs the extra `openvino`.

The model is converted from the frozen graph, not from ONNX. Its precision is set when it is loaded
(INFERENCE_PRECISION_HINT), and must be set: the default depends on the CPU.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from object_detection_mtl import optional_packages
from object_detection_mtl.export.export_options import BFLOAT16, FLOAT32
from object_detection_mtl.export.graph import bfloat16_convolutions, freezing
from object_detection_mtl.ops import lowering

FILE_NAME = "model.xml"
FILES = (FILE_NAME, "model.bin")
METADATA = "metadata"


def require_converter() -> None:
    """Check early that OpenVINO is installed.

    Raises:
        ValueError: OpenVINO is not installed.
    """
    optional_packages.import_package(
        "openvino", "openvino", "OpenVINO's format needs the package openvino"
    )


def convert_module(module: Any, precision: str = FLOAT32) -> Any:
    """Convert a `DetectionModule`, or one with more inputs, to an `openvino.Model`.

    Args:
        module: Its function must not have been called before: it is traced here, for OpenVINO.
        precision: Precision of the convolutions. With bfloat16 the model itself casts them and the
            operations between them; its precision hint is float32 all the same.
    """
    from openvino.frontend import FrontEndManager  # an extra

    from object_detection_mtl.export.formats import openvino_operations

    with lowering.for_openvino():
        graph = freezing.freeze_module(module)
    definition = graph.definition
    if precision == BFLOAT16:
        definition = bfloat16_convolutions.cast_convolutions(
            definition, graph.output_names.values()
        )
    # Not `openvino.convert_model`, which sends usage statistics.
    frontend = FrontEndManager().load_by_framework("tf")
    frontend.add_extension(openvino_operations.gather_extension())
    frontend.add_extension(openvino_operations.suppression_extension())
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "graph.pb")
        with open(path, "wb") as file:
            file.write(definition.SerializeToString())
        model = frontend.convert(frontend.load(path))
    openvino_operations.round_before_bfloat16(model)
    specs = zip(graph.input_names, graph.input_specs, strict=True)
    names = {tensor: spec.name for tensor, spec in specs}
    for model_input in model.inputs:
        model_input.get_tensor().set_names({names[tensor] for tensor in model_input.get_names()})
    served = {tensor: name for name, tensor in graph.output_names.items()}
    for output in model.outputs:
        [name] = {served[tensor] for tensor in output.get_names() if tensor in served}
        output.get_tensor().set_names({name})
    return model


def write_model(model: Any, directory: str, description: Mapping[str, Any]) -> None:
    """Write FILES.

    Args:
        model: From `convert_module`.
        directory: Existing directory.
        description: From `export_metadata.describe_export`.
    """
    import openvino

    model.set_rt_info(json.dumps(description), METADATA)
    with tempfile.TemporaryDirectory() as scratch:  # OpenVINO writes to local file systems only.
        openvino.save_model(model, os.path.join(scratch, FILE_NAME), compress_to_fp16=False)
        for name in FILES:
            tf.io.gfile.copy(os.path.join(scratch, name), os.path.join(directory, name))
