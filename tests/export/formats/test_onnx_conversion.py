"""ONNX export: equal detections in ONNX Runtime, crops as in TensorFlow."""

import json

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import optional_packages
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import onnx_conversion
from object_detection_mtl.ops import lowering, roi
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


@pytest.mark.slow
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


def test_a_missing_converter_is_an_error(monkeypatch, tmp_path):
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
        ({"optimize": False}, "always converted from the frozen graph; drop no_optimize"),
        ({"precision": "bfloat16"}, "'bfloat16' is unsupported in format onnx"),
        ({"format": "caffe"}, "format is 'caffe', expected one of saved_model, onnx, openvino"),
    ],
)
def test_options_that_onnx_does_not_support(options, words):
    with pytest.raises(ValueError, match=words):
        ExportOptions(**{"format": "onnx", **options})


def test_contradictory_options_are_an_error():
    for options, words in [
        ({"input_type": "tf_example", "dynamic_batch": True}, "takes any number of images any"),
        ({"precision": "float16"}, "'float16', expected one of float32, bfloat16"),
        ({"precision": "bfloat16", "optimize": False}, "optimization of the frozen graph"),
        ({"input_type": "nothing"}, "'nothing' is unknown"),
    ]:
        with pytest.raises(ValueError, match=words):
            ExportOptions(**options)
    assert np.array_equal(ExportOptions(dynamic_batch=True).input.shape, (None, None, None, 3))


class Module:
    """A function as a module that can be converted."""

    def __init__(self, function, *specs):
        self.detect = tf.function(function, input_signature=specs, autograph=False)


def cropped(features, boxes, crop_size):
    """Return ONNX Runtime's crops and the kinds of operations in the model."""
    pytest.importorskip("tf2onnx", reason=REASON)
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

    def crop(features, boxes):
        return {"crops": roi.crop_and_resize(features, boxes, crop_size)}

    specs = [
        tf.TensorSpec([None, None, None, features.shape[-1]], name="features"),
        tf.TensorSpec([None, None, 4], name="boxes"),
    ]
    model = onnx_conversion.convert_module(Module(crop, *specs))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [crops] = session.run(["crops"], {"features": features, "boxes": boxes})
    return crops, {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("crop_size", [(7, 7), (3, 1), (1, 4)])
def test_crops_equal_those_of_tensorflow(crop_size):
    """Boxes inside, beyond the edges, reversed, empty and of the whole map."""
    random = np.random.RandomState(0)
    features = random.standard_normal([2, 11, 9, 3]).astype(np.float32)
    special = [[0, 0, 1, 1], [1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], [-1, -1, 2, 2], [2, 2, 3, 3]]
    boxes = np.concatenate(
        [random.uniform(-0.3, 1.3, (2, 40, 4)), np.tile(special, (2, 1, 1))], axis=1
    ).astype(np.float32)
    crops, kinds = cropped(features, boxes, crop_size)
    expected = roi.crop_and_resize(tf.constant(features), tf.constant(boxes), crop_size).numpy()
    np.testing.assert_allclose(crops, expected, atol=2e-5)
    outside = expected == 0.0
    assert 0 < outside.mean() < 0.5
    np.testing.assert_array_equal(crops[outside], 0.0)
    assert "RoiAlign" in kinds
    assert "Loop" not in kinds


def test_a_crop_by_hand():
    """Three samples along a row of 0, 1, 2, 3: at 0.5, 1.5 and 2.5."""
    features = np.arange(4, dtype=np.float32).reshape([1, 1, 4, 1])
    boxes = np.float32([[[0.0, 0.5 / 3, 0.0, 2.5 / 3]]])
    crops, _ = cropped(features, boxes, (1, 3))
    np.testing.assert_allclose(crops.ravel(), [0.5, 1.5, 2.5], atol=1e-6)
