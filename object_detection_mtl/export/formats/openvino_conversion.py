"""The detector as OpenVINO's intermediate representation.

    <output>/model.xml, model.bin

Input and outputs have the names, types and shapes of the SavedModel; suppression is inside, and the
pictures' size is free. The model's own information has, under `metadata`, the text of
metadata.json. Needs the extra `openvino`.

It is made of the frozen graph itself, not of ONNX. Which precision it computes in is said when it
is loaded (INFERENCE_PRECISION_HINT), and has to be said: the default depends on the processor.
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
    """Asks for openvino before anything takes time.

    Raises:
        ValueError: it is not installed.
    """
    optional_packages.import_package(
        "openvino", "openvino", "OpenVINO's format needs the package openvino"
    )


def convert(module: Any, precision: str = FLOAT32) -> Any:
    """A `module.DetectionModule`, or one with more inputs, as an `openvino.Model`.

    Args:
        module: whose function has not been called yet: it is traced here, for OpenVINO.
        precision: of the convolutions. In bfloat16 they and what lies between them are narrow in
            the model itself, whose precision hint is float32 all the same.
    """
    from openvino.frontend import FrontEndManager  # an extra

    from object_detection_mtl.export.formats import (
        openvino_gather,
        openvino_rounding,
        openvino_suppression,
    )

    with lowering.for_openvino():
        graph = freezing.freeze(module)
    definition = graph.definition
    if precision == BFLOAT16:
        definition = bfloat16_convolutions.narrow(definition, graph.output_names.values())
    # Not `openvino.convert_model`, which tells its makers of every use.
    frontend = FrontEndManager().load_by_framework("tf")
    for translated in (openvino_gather, openvino_suppression):
        frontend.add_extension(translated.extension())
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "graph.pb")
        with open(path, "wb") as file:
            file.write(definition.SerializeToString())
        model = frontend.convert(frontend.load(path))
    openvino_rounding.round_before_narrowing(model)
    specs = zip(graph.input_names, graph.input_specs, strict=True)
    names = {tensor: spec.name for tensor, spec in specs}
    for given in model.inputs:
        given.get_tensor().set_names({names[tensor] for tensor in given.get_names()})
    served = {tensor: name for name, tensor in graph.output_names.items()}
    for output in model.outputs:
        [name] = {served[tensor] for tensor in output.get_names() if tensor in served}
        output.get_tensor().set_names({name})
    return model


def write(model: Any, directory: str, description: Mapping[str, Any]) -> None:
    """Args:
    model: of `convert`.
    directory: where FILES are written.
    description: of `metadata.describe`.
    """
    import openvino

    model.set_rt_info(json.dumps(description), METADATA)
    with tempfile.TemporaryDirectory() as scratch:  # OpenVINO writes on this machine only
        openvino.save_model(model, os.path.join(scratch, FILE_NAME), compress_to_fp16=False)
        for name in FILES:
            tf.io.gfile.copy(os.path.join(scratch, name), os.path.join(directory, name))
