"""Post-training quantization of an ONNX detector to int8, with ONNX Runtime.

Inner layers (`inner_layers`) and what is between them become int8, as in `openvino_quantization`;
the rest stays float32. Weights have a scale for each channel and use 7 bits, so that CPUs without
VNNI do not saturate; feature maps have one scale. The result has pairs of QuantizeLinear and
DequantizeLinear, which every runtime of ONNX reads. Needs the extra `onnx`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages
from object_detection_mtl.export.calibration import (
    Calibration,
    CountedImages,
    QuantizationSummary,
)
from object_detection_mtl.export.formats import inner_layers
from object_detection_mtl.export.formats.inner_layers import GraphOperation, Kind, LayerChoice

_LAYERS = frozenset(("Conv", "Gemm", "MatMul"))
_CROP = "RoiAlign"
# Operations on feature maps between two layers, as in `openvino_layers`.
_FEATURE_OPERATIONS = frozenset(
    ("Add", "AveragePool", "Clip", "Concat", "Elu", "Gelu", "GlobalAveragePool", "HardSigmoid")
    + ("HardSwish", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Pad", "ReduceMean", "Relu", "Sigmoid")
    + ("Squeeze", "Sub", "Transpose")
)


def require_quantizer() -> None:
    """Check early that ONNX Runtime is installed.

    Raises:
        ValueError: ONNX Runtime is not installed.
    """
    optional_packages.import_package(
        "onnxruntime.quantization", "onnx", "precision 'int8' in format 'onnx' needs onnxruntime"
    )


def quantize_model(model: Any, calibration: Calibration) -> tuple[Any, QuantizationSummary]:
    """Return an int8 copy of a float32 `onnx.ModelProto`, and what was done.

    Args:
        model: From `onnx_conversion.convert_module`; its one input is a batch of images.
        calibration: Images; this quantizer cannot limit the loss of accuracy.

    Raises:
        ValueError: No image is readable, or ONNX Runtime is not installed.
    """
    require_quantizer()
    assert calibration.accuracy is None
    import onnx
    from onnxruntime import quantization

    start = time.monotonic()
    images = CountedImages(calibration)
    make_names_unique(model)
    layers = choose_layers(model)
    kept = set(layers.kept)
    chosen = [node for node in model.graph.node if node.name not in kept]
    with tempfile.TemporaryDirectory() as scratch, _silence():
        path = os.path.join(scratch, "int8.onnx")
        quantization.quantize_static(
            model,
            path,
            _reader(images, model.graph.input[0]),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=sorted({node.op_type for node in chosen}),
            nodes_to_quantize=[node.name for node in chosen],
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # The mean of the images' ranges: one image with an outlier does not widen the range.
            extra_options={"CalibMovingAverage": True},
        )
        quantized = onnx.load(path)
    number, seconds = len(layers.inner), time.monotonic() - start
    return quantized, QuantizationSummary(images.number, number, len(layers.heads), seconds)


def choose_layers(model: Any) -> LayerChoice:
    """Return which layers of an `onnx.ModelProto` may be int8; names of operations are unique."""
    graph = model.graph
    constants = {each.name for each in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    makers = {name: node.name for node in graph.node for name in node.output}

    def kind(node: Any) -> Kind:
        if node.op_type in _LAYERS and node.input[1] in constants:
            return Kind.LAYER
        if node.op_type in _FEATURE_OPERATIONS:
            return Kind.FEATURE
        return Kind.CROP if node.op_type == _CROP else Kind.OTHER

    return inner_layers.choose_inner_layers(
        [
            GraphOperation(
                node.name, kind(node), tuple(makers.get(name, "") for name in node.input)
            )
            for node in graph.node
        ]
    )


def make_names_unique(model: Any) -> None:
    """Give a name to operations that have none, or that of another operation."""
    names = inner_layers.unique_names(node.name or node.op_type for node in model.graph.node)
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name


def _reader(images: CountedImages, model_input: Any) -> Any:
    """Return a reader of ONNX Runtime's calibration."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    dtype = onnx.helper.tensor_dtype_to_np_dtype(model_input.type.tensor_type.elem_type)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._images, None)
            if image is None:
                return None
            return {model_input.name: image[np.newaxis].astype(dtype)}

    return Reader()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the quantizer's advice about other ways to make a model from the command's output."""
    root = logging.getLogger()
    hide = logging.Filter()
    hide.filter = lambda record: record.levelno > logging.WARNING  # type: ignore[method-assign]
    root.addFilter(hide)
    try:
        yield
    finally:
        root.removeFilter(hide)
