"""OpenVINO export: sizes, suppression and casts as in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import optional_packages
from object_detection_mtl.data import image_resizing
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import BFLOAT16, ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import openvino_conversion
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.export.runtimes import runtime_models
from object_detection_mtl.ops import nms
from tests.export import exported
from tests.models import tiny
from tests.ops.graphs import random_boxes

REASON = "needs the extra openvino"


class Module:
    """A function as a module that can be converted."""

    def __init__(self, function, *specs):
        self.detect = tf.function(function, input_signature=specs, autograph=False)


@pytest.fixture
def run(tmp_path):
    """Return a converter from a function of tensors to OpenVINO's function of arrays."""
    pytest.importorskip("openvino", reason=REASON)

    def converted(function, **specs):
        specs = [tf.TensorSpec(*spec, name=name) for name, spec in specs.items()]
        openvino_conversion.write_model(
            openvino_conversion.convert_module(Module(function, *specs)), str(tmp_path), {}
        )
        return runtime_models.load_model(str(tmp_path / openvino_conversion.FILE_NAME)).run

    return converted


def test_sizes_of_resized_images(run):
    """To the pixel, also where multiplication by the inverse would give another size."""

    def size(image):
        resized, _ = image_resizing.keep_aspect_ratio(
            image, min_dimension=600, max_dimension=1024, half_pixel_centers=False
        )
        return {"resized": resized}

    resized = run(size, image=([None, None, 1], tf.uint8))
    sides = np.random.RandomState(0).randint(1, 700, (20000, 2))
    limits = np.float32([600, 1024])
    floats = sides.astype(np.float32)
    extremes = np.stack([floats.min(1), floats.max(1)], 1)
    exact = np.round(floats[:, None] * (limits / extremes)[..., None])
    inverse = np.round(floats[:, None] * (limits * (np.float32(1) / extremes))[..., None])
    critical = (exact != inverse).any(axis=(1, 2))
    assert critical.sum() > 3
    for height, width in [*sides[critical][:4], (480, 640), (640, 480), (1, 1), (200, 900)]:
        shape = resized({"image": np.zeros((height, width, 1), np.uint8)})["resized"].shape
        assert shape[:2] == image_resizing.size_within((height, width), 600, 1024)


CASES = {
    "boxes of classes": {"q": 3},
    "one box of all classes": {"q": 1},
    "fewer boxes than kept": {"q": 3, "count": 4},
    "nothing above the threshold": {"q": 3, "score_threshold": 2.0},
    "no box": {"q": 1, "count": 0},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_suppression(run, case):
    """The same boxes, in the same order, ties and padding included."""
    case = {"count": 40, "score_threshold": 0.2, **case}
    random = np.random.RandomState(3)
    boxes = random_boxes(random, 2, case["count"], case["q"])
    scores = (random.randint(0, 20, (2, case["count"], 3)) / 20).astype(np.float32)  # with ties

    def suppress(boxes, scores):
        result = nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=case["score_threshold"],
            iou_threshold=0.5,
            max_size_per_class=6,
            max_total_size=12,
            clip_window=tf.constant([0.0, 0, 1, 1]),
            additional_fields={"scores": scores},
        )
        return {
            "kept_boxes": result.boxes,
            "kept_scores": result.scores,
            "classes": result.classes,
            "number": result.num_detections,
            "rows": result.indices,
            "all_scores": result.additional_fields["scores"],
        }

    expected = suppress(tf.constant(boxes), tf.constant(scores))
    specs = {"boxes": ([None, None, case["q"], 4], tf.float32)}
    specs["scores"] = ([None, None, 3], tf.float32)
    found = run(suppress, **specs)({"boxes": boxes, "scores": scores})
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_boxes_at_the_iou_threshold_are_kept(run):
    """The first two boxes have an IoU of exactly one half."""
    boxes = np.float32([[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 1.1, 1]]).reshape([1, 3, 1, 4])
    scores = np.float32([0.9, 0.8, 0.7]).reshape([1, 3, 1])

    def suppress(boxes, scores):
        result = nms.batch_multiclass_nms(
            boxes,
            scores,
            score_threshold=0.0,
            iou_threshold=0.5,
            max_size_per_class=3,
            max_total_size=3,
        )
        return {"rows": result.indices, "number": result.num_detections}

    specs = {"boxes": ([1, 3, 1, 4], tf.float32), "scores": ([1, 3, 1], tf.float32)}
    found = run(suppress, **specs)({"boxes": boxes, "scores": scores})
    assert found["number"] == [2]
    assert found["rows"].tolist() == [[0, 1, 0]]


def test_casts_to_bfloat16_round_to_the_nearest(run):
    """Also with dynamic shapes, where OpenVINO's own cast does not."""
    random = np.random.RandomState(0)
    values = random.standard_normal([2, 5, 7, 16]) * 10.0 ** random.randint(-8, 8, [2, 5, 7, 16])
    values = values.astype(np.float32)
    # Halfway between two neighbors, and bfloat16 values.
    values[0, 0, 0] = [0, 1, 1 + 2**-8, 1 + 3 * 2**-8, 1.9999, -1 - 3 * 2**-8, 6, -6] * 2

    def rounded(values):
        return {"rounded": tf.cast(tf.cast(values, tf.bfloat16), tf.float32)}

    found = run(rounded, values=([None, None, None, 16], tf.float32))({"values": values})
    np.testing.assert_array_equal(found["rounded"], rounded(values)["rounded"])


def test_a_missing_converter_is_an_error(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional_packages.importlib, "import_module", missing)
    options = ExportOptions(format="openvino")
    with pytest.raises(ValueError, match=r"needs the package openvino .*\[openvino\]"):
        saved_model.export_detector(None, str(tmp_path / "out"), config_text="", options=options)
    assert not (tmp_path / "out").exists()


def test_tflite_is_unsupported():
    with pytest.raises(
        ValueError, match="'tflite' is not supported: TFLite has no operation that crops reg"
    ):
        ExportOptions(format="tflite")


@pytest.mark.slow
def test_only_convolutions_are_bfloat16(tmp_path):
    """Boxes, crops and scores are float32, as in TensorFlow's graph in bfloat16."""
    pytest.importorskip("openvino", reason=REASON)
    detector, options = exported.detector(), ExportOptions()
    written = openvino_conversion.convert_module(DetectionModule(detector, options), BFLOAT16)
    openvino_conversion.write_model(written, str(tmp_path), {})
    run = runtime_models.load_model(str(tmp_path / openvino_conversion.FILE_NAME)).run
    frozen = freezing.optimize_module(DetectionModule(detector, options), BFLOAT16)
    image = tiny.images(1)
    found, expected = run({"input_tensor": image.numpy()}), frozen.detect(image)
    for name in ("raw_detection_boxes", "raw_detection_scores"):
        assert np.median(np.abs(found[name] - expected[name])) < 0.01, name
    kinds = {o.get_type_name() for o in written.get_ordered_ops() if is_bfloat16(o)}
    assert "Convolution" in kinds
    assert not kinds & {
        "NonMaxSuppression",
        "Exp",
        "Divide",
        "ROIPooling",
        "Softmax",
        "Interpolate",
    }


def is_bfloat16(operation):
    return any(o.get_element_type().get_type_name() == "bf16" for o in operation.outputs())
