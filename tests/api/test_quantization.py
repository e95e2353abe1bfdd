"""Requests of a quantization: what is checked before a detector is loaded."""

import pytest

from object_detection_mtl.api.quantization import QuantizationRequest
from object_detection_mtl.export.export_options import ExportOptions

INT8 = ExportOptions(format="openvino", precision="int8")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "precision 'int8' needs images .*give --calibration .*in Python calibration="),
        ({"calibration": []}, "precision 'int8' needs images"),
        ({"calibration": "x", "calibration_images": 0}, "calibration_images is 0, expected at le"),
        ({"calibration": "x", "validation": "y"}, "validation is the dataset of max_drop"),
        ({"calibration": "x", "max_drop": -1.0}, "max_drop is -1.0, expected 0 to 100 points"),
        (
            {"calibration": "x", "max_drop": "0.3"},
            "max_drop is '0.3' of the type str; expected a n",
        ),
        ({"calibration": "x", "calibration_images": 2.5}, "calibration_images is 2.5 of the type"),
    ],
)
def test_requests_that_cannot_be_met(given, words):
    with pytest.raises(ValueError, match=words):
        QuantizationRequest(**given).check(INT8)


def test_missing_records():
    with pytest.raises(FileNotFoundError, match="calibration: no file or directory 'none.record'"):
        QuantizationRequest("none.record").check(INT8)


@pytest.mark.parametrize("given", [{"calibration": ["x"]}, {"max_drop": 0.0}, {"validation": "y"}])
def test_other_precisions_take_no_calibration(given):
    [name] = given
    with pytest.raises(ValueError, match=f"{name} is for precision 'int8', and precision is 'fl"):
        QuantizationRequest(**given).check(ExportOptions())
    QuantizationRequest().check(ExportOptions())


def test_a_format_without_int8():
    words = "'int8' is unsupported in format 'saved_model'; export it"
    with pytest.raises(ValueError, match=words):
        ExportOptions(precision="int8")


def test_the_quantizer_of_onnx_has_no_limit():
    options = ExportOptions(format="onnx", precision="int8")
    with pytest.raises(ValueError, match="max_drop is for format 'openvino', .*format is 'onnx'"):
        QuantizationRequest("x", max_drop=0.3).check(options)
