"""Post-training quantization of an OpenVINO detector to int8, with NNCF.

Inner layers (`openvino_layers`) and what is between them become int8: the backbone, the second
stage on proposals and on the windows of the auxiliary tasks. Preprocessing, the last layers of both
stages and of the tasks, the refining layer, box decoding, crops and suppression stay float32.
Weights have a scale for each channel, feature maps one scale. Needs the extra `quantize`.

CPUs without VNNI add products in 16 bits, which saturate if weights use all 8 bits, and that
costs accuracy. So weights use 7 bits, whose sums do not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from object_detection_mtl import optional_packages
from object_detection_mtl.export.calibration import (
    AccuracyControl,
    Calibration,
    CountedImages,
    QuantizationSummary,
)
from object_detection_mtl.export.formats import openvino_layers

# NNCF sends usage statistics unless this variable is set.
_NO_STATISTICS = "NNCF_CI"


def require_quantizer() -> None:
    """Check early that NNCF is installed.

    Raises:
        ValueError: NNCF is not installed.
    """
    os.environ.setdefault(_NO_STATISTICS, "1")
    optional_packages.import_package("nncf", "quantize", "precision 'int8' needs the package nncf")


def quantize_model(model: Any, calibration: Calibration) -> tuple[Any, QuantizationSummary]:
    """Return an int8 copy of a float32 `openvino.Model`, and what was done.

    Args:
        model: From `openvino_conversion.convert_module`; its one input is a batch of images.
        calibration: Images, and the limit of the loss of accuracy.

    Raises:
        ValueError: No image is readable, or NNCF is not installed.
    """
    require_quantizer()
    import nncf

    start = time.monotonic()
    [model_input] = model.inputs
    name, dtype = model_input.get_any_name(), model_input.element_type.to_dtype()
    images = CountedImages(calibration)

    def to_inputs(image: np.ndarray) -> dict[str, np.ndarray]:
        return {name: image[np.newaxis].astype(dtype)}

    openvino_layers.make_names_unique(model)
    layers = openvino_layers.choose_layers(model)
    options = {
        "calibration_dataset": nncf.Dataset(images, to_inputs),
        "subset_size": calibration.max_images,
        "ignored_scope": nncf.IgnoredScope(names=list(layers.kept), validate=False),
    }
    # The two functions of NNCF have different names for the same argument.
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    nncf.set_log_level(logging.ERROR)
    # Progress of NNCF does not belong to the command's output.
    with contextlib.redirect_stdout(sys.stderr):
        if calibration.accuracy is None:
            quantized = nncf.quantize(model, **options, advanced_parameters=advanced)
        else:
            quantized = _quantize_within(
                model,
                calibration.accuracy,
                {**options, "advanced_quantization_parameters": advanced},
            )
        scores = _scores(calibration.accuracy, (model, quantized))
    int8_layers, float32_layers = openvino_layers.count_layers(quantized)
    return quantized, QuantizationSummary(
        images.number,
        int8_layers,
        float32_layers,
        seconds=time.monotonic() - start,
        scores=scores,
        max_drop=None if calibration.accuracy is None else calibration.accuracy.max_drop,
    )


def _scores(
    accuracy: AccuracyControl | None, models: tuple[Any, Any]
) -> tuple[float, float] | None:
    """Return the scores of both models on all examples; None without a limit."""
    if accuracy is None:
        return None
    import openvino

    core = openvino.Core()
    before, after = (
        accuracy.score(
            as_function(core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})),
            accuracy.examples,
        )
        for model in models
    )
    return before, after


def _quantize_within(model: Any, accuracy: Any, options: Mapping[str, Any]) -> Any:
    """Quantize; return layers to float32, the most harmful first, until the drop is allowed."""
    import nncf

    def score(compiled: Any, examples: Iterable[Any]) -> tuple[float, None]:
        return accuracy.score(as_function(compiled), examples), None

    return nncf.quantize_with_accuracy_control(
        model,
        validation_dataset=nncf.Dataset(_Examples(accuracy.examples)),
        validation_fn=score,
        max_drop=accuracy.max_drop,
        drop_type=nncf.DropType.ABSOLUTE,
        **options,
    )


def as_function(compiled: Any) -> Any:
    """Return a compiled model as a function from arrays by name to arrays by name."""

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            output.get_any_name(): np.array(value)
            for output, value in compiled(dict(inputs)).items()
        }

    return run


class _Examples:
    """Examples without a length, which of a tf.data.Dataset is a tensor that NNCF cannot use."""

    def __init__(self, examples: Iterable[Any]) -> None:
        self._examples = examples

    def __iter__(self) -> Iterator[Any]:
        """Yield the examples."""
        return iter(self._examples)
