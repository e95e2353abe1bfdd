"""Options of an export: input type, format, precision."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.export.serving_inputs import InputType, find_input_type

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
INT8 = "int8"
PRECISIONS = (FLOAT32, BFLOAT16, INT8)
SAVED_MODEL = "saved_model"
ONNX = "onnx"
OPENVINO = "openvino"
FORMATS = (SAVED_MODEL, ONNX, OPENVINO)
TFLITE = "tflite"


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        input_type: One of `serving_inputs.INPUT_TYPES`.
        dynamic_batch: Let image_tensor take any number of images of one size, not just one.
        optimize: Freeze and fold the graph (`freezing`); otherwise it is the detector's own graph,
            with variables.
        precision: Precision of the convolutions, one of PRECISIONS (`bfloat16_convolutions`,
            `onnx_quantization`, `openvino_quantization`); INT8 for the last two formats.
        format: One of FORMATS. ONNX (`onnx_conversion`) and OpenVINO (`openvino_conversion`) are
            converted from the frozen graph, ONNX in float32 or INT8, and take arrays.
        auxiliary_outputs: Also serve the predictions of the auxiliary tasks, by their names.
    """

    input_type: str = "image_tensor"
    dynamic_batch: bool = False
    optimize: bool = True
    precision: str = FLOAT32
    format: str = SAVED_MODEL
    auxiliary_outputs: bool = False

    def __post_init__(self) -> None:
        input_type = find_input_type(self.input_type)
        if self.dynamic_batch and input_type.shape[0] is None:
            raise ValueError(
                f"dynamic_batch is for input type 'image_tensor'; {self.input_type!r} takes any "
                "number of images anyway, drop the option"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(PRECISIONS)}"
            )
        if self.precision != FLOAT32 and not self.optimize:
            raise ValueError(
                f"precision {self.precision!r} is an optimization of the frozen graph: drop "
                "precision or no_optimize"
            )
        if self.format == TFLITE:
            raise ValueError(
                "format 'tflite' is not supported: TFLite has no operation that crops regions or "
                "suppresses the boxes of a batch, so half of the detector would be missing or need "
                f"TensorFlow's own kernels; use one of {', '.join(FORMATS)}"
            )
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}, expected one of {', '.join(FORMATS)}")
        if self.precision == INT8 and self.format == SAVED_MODEL:
            raise ValueError(
                f"precision {INT8!r} is unsupported in format {self.format!r}; export it with "
                f"--format={OPENVINO} or --format={ONNX} (in Python: format={OPENVINO!r})"
            )
        if self.format != SAVED_MODEL:
            self._check_converted_format(input_type)

    def _check_converted_format(self, input_type: InputType) -> None:
        if input_type.dtype == tf.string:
            raise ValueError(
                f"input type {self.input_type!r} is unsupported in format {self.format}, which "
                "decodes no image files; use image_tensor or float_image_tensor"
            )
        if not self.optimize:
            raise ValueError(
                f"format {self.format} is always converted from the frozen graph; drop no_optimize "
                "(in Python optimize=False)"
            )
        if self.precision == BFLOAT16 and self.format == ONNX:
            raise ValueError(
                f"precision {BFLOAT16!r} is unsupported in format {self.format}; drop precision, "
                f"or export in format {SAVED_MODEL} or {OPENVINO}"
            )

    @property
    def input(self) -> InputType:
        """Return the input type of the graph."""
        input_type = find_input_type(self.input_type)
        return input_type.of_any_batch() if self.dynamic_batch else input_type
