"""Quantization of a tiny detector to int8 by NNCF."""

import itertools

import numpy as np
import pytest

from object_detection_mtl import optional_packages
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.calibration import (
    AccuracyControl,
    Calibration,
    QuantizationSummary,
)
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import (
    openvino_conversion,
    openvino_layers,
    openvino_quantization,
)
from object_detection_mtl.export.runtimes import runtime_models
from tests.export import exported
from tests.models import tiny

REASON = "needs the extras openvino and quantize"


def calibration(images, **more):
    return Calibration(images, "photos", **more)


def test_without_nncf_the_extra_is_named(monkeypatch, tmp_path):
    def missing(name):
        if name == "nncf":
            raise ImportError("No module named 'nncf'")

    monkeypatch.setattr(optional_packages.importlib, "import_module", missing)
    options = ExportOptions(format="openvino", precision="int8")
    with pytest.raises(ValueError, match=r"needs the package nncf .*\[quantize\]"):
        saved_model.export_detector(None, str(tmp_path / "out"), config_text="", options=options)
    assert not (tmp_path / "out").exists()


def run_model(model, image):
    import openvino

    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return openvino_quantization.as_function(compiled)({"input_tensor": image})


@pytest.mark.slow
def test_an_export_in_int8(tmp_path, capsys):
    """Inner layers are int8, heads float32; the metadata say by how many images it was made."""
    openvino = pytest.importorskip("openvino", reason=REASON)
    pytest.importorskip("nncf", reason=REASON)
    images = [*tiny.images(3).numpy()]
    saved_model.export_detector(
        exported.detector(),
        str(tmp_path / "int8"),
        config_text="",
        options=ExportOptions(format="openvino", precision="int8"),
        calibration=calibration(images, max_images=2),
    )
    path = str(tmp_path / "int8" / openvino_conversion.FILE_NAME)
    assert "int8: calibrated on 2 images in " in capsys.readouterr().out
    int8_layers, float32_layers = openvino_layers.count_layers(openvino.Core().read_model(path))
    assert float32_layers == 4  # boxes and scores of both stages
    loaded = runtime_models.load_model(path)
    summary = loaded.metadata["quantization"]
    assert (summary["images"], summary["int8_layers"]) == (2, int8_layers)
    expected = DetectionModule(exported.detector(), ExportOptions()).detect(images[0][np.newaxis])
    found = loaded.run({"input_tensor": images[0][np.newaxis]})
    for name in ("raw_detection_boxes", "raw_detection_scores"):
        assert np.median(np.abs(found[name] - expected[name])) < 0.02, name


def small_model(depth=3):
    """Return a model of two inner layers and a head, of random weights."""
    from openvino import Model, opset13

    random = np.random.RandomState(0)
    image = opset13.parameter([1, 8, 8, 3], np.uint8, name="image")
    image.output(0).set_names({"input_tensor"})
    values = opset13.transpose(opset13.convert(image, "f32"), [0, 3, 1, 2])
    for _ in range(depth):
        weights = np.float32(0.1 * random.standard_normal([3, 3, 3, 3]))
        layer = opset13.convolution(values, weights, [1, 1], [1, 1], [1, 1], [1, 1])
        values = opset13.relu(layer)
    result = opset13.softmax(values, 1)
    result.output(0).set_names({"scores"})
    return Model([result], [image])


@pytest.mark.slow
def test_layers_return_to_float32_until_the_drop_is_allowed():
    """The score of a model is the closeness of its result to that of the float32 model."""
    pytest.importorskip("openvino", reason=REASON)
    pytest.importorskip("nncf", reason=REASON)
    model = small_model()
    image = tiny.images(1, 8, 8).numpy()
    expected = run_model(model, image)["scores"]
    calls = itertools.count()

    def score(run, examples):
        next(calls)
        [image, *_] = examples
        return 1 - float(np.abs(run({"input_tensor": image})["scores"] - expected).max())

    _, free = openvino_quantization.quantize_model(model, calibration([image[0]]))
    control = AccuracyControl(1e-5, [image], score)
    _, limited = openvino_quantization.quantize_model(
        model, calibration([image[0]], accuracy=control)
    )
    assert next(calls) > 2
    assert (free.int8_layers, free.float32_layers) == (2, 1)
    assert limited.int8_layers < 2
    before, after = limited.scores
    assert before == pytest.approx(1, abs=1e-6)
    assert before - after <= 1e-5
    assert f"mAP@0.5 is {before:.4f} in float32 and {after:.4f} in int8" in str(limited)
    assert "more is lost" not in str(limited)
    assert free.scores is None
    assert "mAP" not in str(free)


def test_a_limit_that_cannot_be_kept_is_said():
    summary = QuantizationSummary(10, 3, 1, 2.0, scores=(0.5, 0.49), max_drop=0.003)
    assert "at most 0.3 points may be lost; more is lost, and" in str(summary)


def test_without_a_readable_image():
    pytest.importorskip("openvino", reason=REASON)
    pytest.importorskip("nncf", reason=REASON)
    with pytest.raises(ValueError, match=r"'photos' has no readable image; give records or a"):
        openvino_quantization.quantize_model(small_model(), calibration([]))
