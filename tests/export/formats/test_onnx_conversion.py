"""ONNX export: equal detections in ONNX Runtime; crops as in TensorFlow."""

import json

import numpy as np
import pytest

from object_detection_mtl import optional_packages
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.ops import lowering
from tests.export import comparing, exported
from tests.models import tiny

REASON = "needs the extra onnx"


@pytest.fixture(scope="module")
def detector():
    return tiny.detector(
        "model.faster_rcnn.first_stage_max_proposals=50",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=200",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=300",
        is_training=False,
    )


def test_the_graph_for_onnx_gives_the_same_detections(detector):
    """Lowered to the operations of ONNX, run in TensorFlow."""
    options = ExportOptions(dynamic_batch=True)
    images = comparing.photographs()
    with lowering.for_onnx():
        module = DetectionModule(detector, options)
        operations = module.detect.get_concrete_function().graph.get_operations()
    assert not {"Bitcast", "InvertPermutation"} & {operation.type for operation in operations}
    comparing.check_same_detections(
        module.detect(images), DetectionModule(detector, options).detect(images)
    )


@pytest.mark.slow
def test_onnxruntime_gives_the_same_detections(detector, tmp_path):
    pytest.importorskip("tf2onnx", reason=REASON)
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)
    options = ExportOptions(dynamic_batch=True, format="onnx")
    text = pipeline.to_text(exported.config())
    saved_model.export_detector(
        detector,
        str(tmp_path / "out"),
        config_text=text,
        options=options,
        label_map_path=str(exported.LABEL_MAP_PATH),
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "checkpoint",
        "model.onnx",
        "pipeline.config",
    ]
    session = onnxruntime.InferenceSession(
        str(tmp_path / "out" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    [model_input] = session.get_inputs()
    assert (model_input.name, model_input.type, len(model_input.shape)) == (
        "input_tensor",
        "tensor(uint8)",
        4,
    )
    names = [output.name for output in session.get_outputs()]
    plain = DetectionModule(detector, options)
    images = comparing.photographs()
    for batch in (images, images[:1], images[:1, :300, :400]):
        outputs = dict(zip(names, session.run(None, {"input_tensor": batch}), strict=True))
        comparing.check_same_detections(outputs, plain.detect(batch))
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["metadata"])
    assert metadata["class_names"] == {str(number): name for number, name in exported.NAMES.items()}
    assert metadata["export"]["format"] == "onnx"


def test_without_the_converter(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional_packages.importlib, "import_module", missing)
    options = ExportOptions(format="onnx")
    with pytest.raises(ValueError, match=r"needs tf2onnx .*object_detection_mtl\[onnx\]"):
        saved_model.export_detector(None, str(tmp_path / "out"), config_text="", options=options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"input_type": "tf_example"},
            "'tf_example' is unsupported in format onnx.* use image_tensor",
        ),
        ({"optimize": False}, "always converted from the frozen float32 graph"),
        ({"precision": "bfloat16"}, "always converted from the frozen float32 graph"),
        ({"format": "caffe"}, "format is 'caffe', expected one of saved_model, onnx, openvino"),
    ],
)
def test_options_that_onnx_does_not_support(options, words):
    with pytest.raises(ValueError, match=words):
        ExportOptions(**{"format": "onnx", **options})


def test_options_that_contradict_each_other():
    for options, words in [
        ({"input_type": "tf_example", "dynamic_batch": True}, "takes any number of images any"),
        ({"precision": "float16"}, "'float16', expected one of float32, bfloat16"),
        ({"precision": "bfloat16", "optimize": False}, "optimization of the frozen graph"),
        ({"input_type": "nothing"}, "'nothing' is unknown"),
    ]:
        with pytest.raises(ValueError, match=words):
            ExportOptions(**options)
    assert np.array_equal(ExportOptions(dynamic_batch=True).input.shape, (None, None, None, 3))
