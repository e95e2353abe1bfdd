"""What an export is to be: what it takes, and how its graph is made."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.export.serving_inputs import InputType, input_type

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
SAVED_MODEL = "saved_model"
ONNX = "onnx"
OPENVINO = "openvino"
FORMATS = (SAVED_MODEL, ONNX, OPENVINO)
TFLITE = "tflite"


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        input_type: one of `inputs.INPUT_TYPES`.
        dynamic_batch: image_tensor takes any number of pictures of one size, not just one.
        optimize: freeze and fold the graph (`fast_inference`); otherwise it is the detector's own,
            with variables.
        precision: of the convolutions, one of PRECISIONS (`bfloat16`).
        auxiliary_outputs: serve what the auxiliary tasks predict, too, by the predictions' names.
        format: one of FORMATS. ONNX (`onnx`) and OpenVINO's (`openvino`) are made of the frozen
            graph, ONNX in float32, and take arrays.
    """

    input_type: str = "image_tensor"
    dynamic_batch: bool = False
    optimize: bool = True
    precision: str = FLOAT32
    format: str = SAVED_MODEL
    auxiliary_outputs: bool = False

    def __post_init__(self) -> None:
        kind = input_type(self.input_type)
        if self.dynamic_batch and kind.shape[0] is None:
            raise ValueError(
                f"dynamic_batch is for input type 'image_tensor'; {self.input_type!r} takes any "
                "number of pictures anyway, leave it out"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(PRECISIONS)}"
            )
        if self.precision != FLOAT32 and not self.optimize:
            raise ValueError(
                f"precision {self.precision!r} is an optimisation of the frozen graph: leave out "
                "the one or the other"
            )

        if self.format == TFLITE:
            raise ValueError(
                "format 'tflite' is not supported: TFLite has no crop of regions, no suppression "
                "of a batch; half of the detector would be left out, or need TensorFlow's own "
                f"kernels beside it; use one of {', '.join(FORMATS)}"
            )
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}, expected one of {', '.join(FORMATS)}")
        if self.format != SAVED_MODEL:
            self._check_for_other_runtimes(kind)

    def _check_for_other_runtimes(self, kind: InputType) -> None:
        if kind.dtype == tf.string:
            raise ValueError(
                f"input type {self.input_type!r} cannot become {self.format}, which decodes no "
                "picture files; use image_tensor or float_image_tensor"
            )
        if not self.optimize or (self.precision != FLOAT32 and self.format != OPENVINO):
            raise ValueError(
                f"{self.format} is always made of the frozen float32 graph; leave out no_optimize "
                f"and precision (which is for {SAVED_MODEL} and {OPENVINO})"
            )

    @property
    def input(self) -> InputType:
        """What the graph takes."""
        kind = input_type(self.input_type)
        return kind.of_any_batch() if self.dynamic_batch else kind
