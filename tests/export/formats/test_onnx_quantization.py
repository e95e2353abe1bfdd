"""Quantization of detectors to int8 by ONNX Runtime."""

import numpy as np
import pytest

from object_detection_mtl import optional_packages
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.calibration import Calibration
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import onnx_conversion, onnx_quantization
from object_detection_mtl.export.runtimes import runtime_models
from tests.export import exported
from tests.models import tiny

REASON = "needs the extra onnx"
INT8 = ExportOptions(format="onnx", precision="int8")
DEPTH = 4


def test_without_the_quantizer_the_extra_is_named(monkeypatch, tmp_path):
    def missing(name):
        if name.startswith("onnxruntime"):
            raise ImportError("No module named 'onnxruntime'")

    monkeypatch.setattr(optional_packages.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"in format 'onnx' needs onnxruntime .*\[onnx\]"):
        saved_model.export_detector(None, str(tmp_path / "out"), config_text="", options=INT8)
    assert not (tmp_path / "out").exists()


def graph_of_layers():
    """Return two inner layers, a head whose result is reshaped, and a layer that reads it.

    Operations have the names of their results; the image is uint8.
    """
    onnx = pytest.importorskip("onnx", reason=REASON)
    helper, random = onnx.helper, np.random.RandomState(0)
    weights = {
        "weights": 0.3 * random.standard_normal([DEPTH, DEPTH, 1, 1]),
        "product": 0.3 * random.standard_normal([DEPTH, DEPTH]),
        "shape": np.array([-1, DEPTH]),
    }
    types = {"shape": np.int64}
    steps = [
        ("Cast", ["input_tensor"], "image"),
        ("Transpose", ["image"], "first"),
        ("Conv", ["first", "weights"], "backbone"),
        ("Relu", ["backbone"], "map"),
        ("Conv", ["map", "weights"], "block"),
        ("Add", ["map", "block"], "sum"),
        ("Conv", ["sum", "weights"], "head"),
        ("Reshape", ["head", "shape"], "logits"),
        ("MatMul", ["logits", "product"], "refined"),
        ("MatMul", ["refined", "logits"], "no layer"),
    ]
    options = {"image": {"to": onnx.TensorProto.FLOAT}, "first": {"perm": [0, 3, 1, 2]}}
    nodes = [
        helper.make_node(kind, inputs, [name], name=name, **options.get(name, {}))
        for kind, inputs, name in steps[:-1]
    ]
    image = helper.make_tensor_value_info(
        "input_tensor", onnx.TensorProto.UINT8, [1, None, None, DEPTH]
    )
    result = helper.make_tensor_value_info("refined", onnx.TensorProto.FLOAT, [None, DEPTH])
    stored = [
        onnx.numpy_helper.from_array(value.astype(types.get(name, np.float32)), name)
        for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "layers", [image], [result], stored)
    opset = helper.make_opsetid("", onnx_conversion.OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def test_inner_layers_heads_and_what_is_kept():
    chosen = onnx_quantization.choose_layers(graph_of_layers())
    assert set(chosen.inner) == {"backbone", "block"}
    assert set(chosen.heads) == {"head", "refined"}
    assert set(chosen.kept) == {"image", "first", "sum", "head", "logits", "refined"}


def test_names_become_unique():
    model = graph_of_layers()
    for node in model.graph.node:
        node.name = "" if node.op_type == "Conv" else "same"
    onnx_quantization.make_names_unique(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert names[:3] == ["same", "same/1", "Conv"]


def test_a_small_model_in_int8():
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
    images = np.random.RandomState(1).randint(0, 255, [5, 6, 8, DEPTH]).astype(np.uint8)
    model = graph_of_layers()
    before = onnxruntime.InferenceSession(model.SerializeToString())
    quantized, summary = onnx_quantization.quantize_model(
        model, Calibration([*images], "photos", max_images=3)
    )
    assert (summary.images, summary.int8_layers, summary.float32_layers) == (3, 2, 2)
    after = onnxruntime.InferenceSession(quantized.SerializeToString())
    [expected], [found] = (
        session.run(None, {"input_tensor": images[4:]}) for session in (before, after)
    )
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < difference < 0.05


def test_without_a_readable_image():
    pytest.importorskip("onnxruntime", reason=REASON)
    with pytest.raises(ValueError, match=r"'photos' has no readable image; give records or a"):
        onnx_quantization.quantize_model(graph_of_layers(), Calibration([], "photos"))


@pytest.mark.slow
def test_an_export_in_int8(tmp_path, capfd):
    """Inner layers are int8, heads float32; the metadata say by how many images it was made."""
    pytest.importorskip("tf2onnx", reason=REASON)
    pytest.importorskip("onnxruntime", reason=REASON)
    images = [*tiny.images(3).numpy()]
    saved_model.export_detector(
        exported.detector(),
        str(tmp_path / "int8"),
        config_text="",
        options=INT8,
        calibration=Calibration(images, "photos", max_images=2),
    )
    output = capfd.readouterr()
    assert "int8: calibrated on 2 images in " in output.out
    assert "pre-processing" not in output.err  # the quantizer's advice
    loaded = runtime_models.load_model(str(tmp_path / "int8" / onnx_conversion.FILE_NAME))
    summary = loaded.metadata["quantization"]
    assert (summary["images"], summary["float32_layers"]) == (2, 4)  # boxes and scores
    assert summary["int8_layers"] > 20
    expected = DetectionModule(exported.detector(), ExportOptions()).detect(images[0][np.newaxis])
    found = loaded.run({"input_tensor": images[0][np.newaxis]})
    # Proposals of nearly equal scores may be in another order, so the nearest boxes are compared.
    boxes, scores = (np.array(expected[f"raw_detection_{name}"][0]) for name in ("boxes", "scores"))
    distances = np.abs(found["raw_detection_boxes"][0][:, np.newaxis] - boxes).max(axis=2)
    assert np.median(distances.min(axis=1)) < 0.02
    nearest = scores[distances.argmin(axis=1)]
    assert np.median(np.abs(found["raw_detection_scores"][0] - nearest)) < 0.02
