"""Models of other runtimes: equal detections, clear errors."""

import concurrent.futures

import numpy as np
import pytest

from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.runtimes import runtime_models
from object_detection_mtl.fields import Detections
from tests.export import comparing, exported
from tests.models import tiny


@pytest.mark.parametrize("name", ["gone.onnx", "gone.xml"])
@pytest.mark.parametrize("read", [runtime_models.load_model, runtime_models.read_metadata])
def test_a_missing_file_is_reported_with_or_without_its_runtime(tmp_path, read, name):
    with pytest.raises(FileNotFoundError, match=f"{name}': the file does not exist"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["model.pb", "model", ""])
def test_unknown_formats_are_an_error(name):
    with pytest.raises(ValueError, match=r"expected a file with extension .xml or .onnx"):
        runtime_models.engine_of_file(name)


@pytest.mark.parametrize(("engine", "number"), [("onnxruntime", 2), ("tensorflow", 3)])
def test_streams_are_for_openvino(engine, number):
    runtime_models.check_num_streams("openvino", number)
    runtime_models.check_num_streams(engine, 1)
    with pytest.raises(ValueError, match=rf"num_streams is {number}, .* not for '{engine}'"):
        runtime_models.check_num_streams(engine, number)
    with pytest.raises(ValueError, match="num_streams is 0, expected at least 1"):
        runtime_models.check_num_streams("openvino", 0)


# Not in CI: after it a SIGINT, which other tests raise, can crash this process in native code.
@pytest.mark.long
def test_threads_share_the_streams_of_an_openvino_model(tmp_path):
    openvino = pytest.importorskip("openvino", reason="needs the extra openvino")
    from openvino import opset13 as ops

    image = ops.parameter([-1, 3], np.float32, name="image")
    summed = ops.reduce_sum(image, ops.constant([1]), keep_dims=False)
    summed.output(0).set_names({"sum"})
    path = str(tmp_path / "model.xml")
    openvino.save_model(openvino.Model([summed], [image]), path)
    arrays = [np.full((2, 3), number, np.float32) for number in range(40)]
    for num_streams in (1, 2):
        model = runtime_models.load_model(path, num_streams)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            found = list(threads.map(model.run, [{"image": array} for array in arrays]))
        assert [result["sum"].tolist() for result in found] == [[3.0 * n] * 2 for n in range(40)]


SIZES = (
    "model.faster_rcnn.first_stage_max_proposals=50",
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=200",
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=300",
)
MTL = tuple(f"model.mtl.{field}=true" for field in ("window", "closeness", "edgemask", "refine"))
MODELS = {
    "Faster R-CNN of all tasks, refined": MTL,
    "R-FCN of all tasks, refined": (*tiny.RFCN, *MTL),
}
FORMATS = {
    "onnx": (runtime_models.ONNXRUNTIME, ("tf2onnx", "onnxruntime")),
    "openvino": (runtime_models.OPENVINO, ("openvino",)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "format"),
    [
        ("Faster R-CNN of all tasks, refined", "onnx"),
        ("Faster R-CNN of all tasks, refined", "openvino"),
        pytest.param("R-FCN of all tasks, refined", "onnx", marks=pytest.mark.long),
        ("R-FCN of all tasks, refined", "openvino"),
    ],
)
def test_detections_of_a_runtime_equal_those_of_the_plain_graph(model, format, tmp_path):
    engine, packages = FORMATS[format]
    for package in packages:
        pytest.importorskip(package, reason=f"needs the extra {format}")
    detector = tiny.detector(*SIZES, *MODELS[model], is_training=False)
    auxiliary = bool(detector.aux_tasks)
    options = ExportOptions(dynamic_batch=True, format=format, auxiliary_outputs=auxiliary)
    saved_model.export_detector(
        detector,
        str(tmp_path),
        config_text=pipeline.to_text(exported.config()),
        options=options,
        label_map_path=str(exported.LABEL_MAP_PATH),
    )
    [name] = [name for name in saved_model.FILES[format] if not name.endswith(".bin")]
    path = str(tmp_path / name)
    assert runtime_models.engine_of_file(path) == engine
    runtime = runtime_models.load_model(path)
    assert runtime.inputs == {"input_tensor": runtime_models.ModelInput("uint8", None)}
    assert runtime.metadata["export"]["format"] == format
    names = {str(number): name for number, name in exported.NAMES.items()}
    assert runtime.metadata["class_names"] == names
    plain = DetectionModule(detector, options)
    images = comparing.photographs()
    for batch in (images, images[:1, :300, :400]):
        found, expected = runtime.run({"input_tensor": batch}), plain.detect(batch)
        assert Detections.boxes in found
        assert len(found) == 8 + 3 * auxiliary
        comparing.check_same_detections(found, expected)


@pytest.mark.slow
def test_an_image_of_static_size(tmp_path):
    """All shapes are static, for which OpenVINO uses other kernels."""
    pytest.importorskip("openvino", reason="needs the extra openvino")
    resizer = "model.faster_rcnn.image_resizer.fixed_shape_resizer"
    detector = tiny.detector(
        SIZES[0], f"{resizer}.height=150", f"{resizer}.width=200", is_training=False
    )
    options = ExportOptions(format="openvino")
    text = pipeline.to_text(exported.config())
    saved_model.export_detector(detector, str(tmp_path), config_text=text, options=options)
    runtime = runtime_models.load_model(str(tmp_path / "model.xml"))
    assert runtime.inputs == {"input_tensor": runtime_models.ModelInput("uint8", 1)}
    plain = DetectionModule(detector, options)
    for image in comparing.photographs():
        found = runtime.run({"input_tensor": image[None]})
        comparing.check_same_detections(found, plain.detect(image[None]))
