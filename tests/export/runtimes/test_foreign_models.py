"""Model files of others, which are no detectors, or take images of one size only."""

import functools

import numpy as np
import pytest

import object_detection_mtl as odm
from object_detection_mtl.export.runtimes import (
    runtime_choice,
    runtime_conversion,
    runtime_models,
)
from object_detection_mtl.fields import SERVED_OUTPUTS, Detections
from object_detection_mtl.inference import runtime_predictor

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

IMAGE = np.zeros((50, 60, 3), np.uint8)


def write(path, size=(None, None), input_name="input_tensor", outputs=SERVED_OUTPUTS):
    """Write a model that returns the maximum of its image, [1], under each name."""
    helper, types = onnx.helper, onnx.TensorProto
    shape = [1, *size, 3]
    nodes = [helper.make_node("Cast", [input_name], ["float"], to=types.FLOAT)]
    nodes += [
        helper.make_node("ReduceMax", ["float"], [name], axes=[1, 2, 3], keepdims=0)
        for name in outputs
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(input_name, types.UINT8, shape)],
        [helper.make_tensor_value_info(name, types.FLOAT, [1]) for name in outputs],
    )
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return str(path)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (
            {"input_name": "x"},
            r"its inputs are x \(expected input_tensor\); it lacks the outputs none",
        ),
        ({"outputs": ["y"]}, "it lacks the outputs detection_boxes, detection_scores, "),
        ({"outputs": [Detections.boxes, Detections.scores]}, "outputs detection_classes, num_"),
    ],
)
def test_a_file_of_another_model_is_named(form, words, tmp_path):
    path = write(tmp_path / "model.onnx", **form)
    with pytest.raises(ValueError, match=f"is not a detector exported by .*{words}"):
        runtime_predictor.from_exported_model(path)
    with pytest.raises(ValueError, match="is not a detector exported by"):
        odm.load_detector(tmp_path)


def test_a_model_that_rejects_the_image(tmp_path):
    path = write(tmp_path / "model.onnx", size=(32, 32))
    model, _ = runtime_conversion.load_detector_file(path)
    assert model.outputs == SERVED_OUTPUTS
    assert model.run({"input_tensor": np.ones((1, 32, 32, 3), np.uint8)})[Detections.scores] == [1]
    with pytest.raises(
        runtime_models.ModelCallError, match="onnxruntime cannot compute it: .* Expected: 32"
    ):
        model.run({"input_tensor": IMAGE[np.newaxis]})


def test_auto_rejects_candidates_that_fail_and_says_why(tmp_path):
    other = write(tmp_path / "other.onnx", input_name="x")
    fixed = write(tmp_path / "fixed.onnx", size=(32, 32))

    def tensorflow(sample):
        return {
            Detections.boxes: np.zeros((1, 1, 4)),
            Detections.scores: np.zeros((1, 1)),
            Detections.classes: np.zeros((1, 1)),
            Detections.num_detections: np.zeros(1),
        }

    def candidate(path):
        return runtime_conversion.load_detector_file(path)[0].run

    makers = {path: functools.partial(candidate, path) for path in (other, fixed)}
    chosen, _ = runtime_choice.choose_engine(
        tensorflow, makers, [{"input_tensor": IMAGE[np.newaxis]}], max_difference=0.5
    )
    assert chosen.engine == "tensorflow"
    assert "is not a detector" in chosen.rejected[other]
    assert "onnxruntime cannot compute it" in chosen.rejected[fixed]
