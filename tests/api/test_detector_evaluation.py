"""Evaluation and export of detectors and of exported models."""

import json

import numpy as np
import pytest

import object_detection_mtl as odm
from object_detection_mtl.api import detector_evaluation
from tests.api import tiny_detectors

MAP = "PascalBoxes_Precision/mAP@0.5IOU"
EXAMPLES = [tiny_detectors.example(number) for number in range(2)]


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return odm.load_detector(tiny_detectors.write_run(tmp_path_factory.mktemp("run") / "run"))


def true_detections(detector):
    """Return a detector that finds the objects of EXAMPLES."""
    from object_detection_mtl.inference.image_detections import ImageDetections
    from object_detection_mtl.inference.predictor import as_staged_predictor

    def predict(pixels):
        number = next(
            number for number, item in enumerate(EXAMPLES) if np.array_equal(item["image"], pixels)
        )
        boxes = EXAMPLES[number]["boxes"] / np.float32([64, 80, 64, 80])
        return ImageDetections(boxes, np.array([0.9], np.float32), EXAMPLES[number]["labels"])

    return odm.Detector(
        lambda images: as_staged_predictor(predict),
        config=detector.config,
        class_names=detector.class_names,
        source="model.onnx",
    )


@pytest.mark.slow
def test_the_present_weights_are_evaluated_and_exported(detector, tmp_path):
    found = odm.evaluate_detector(detector, EXAMPLES, output_dir=tmp_path / "out", metrics="voc")
    assert np.isfinite(found[MAP])
    assert np.isfinite(found["Loss/total_loss"])
    written = json.loads((tmp_path / "out/eval/validation/metrics-3.json").read_text())
    assert written["metrics"][MAP] == found[MAP]
    first = detector.model.trainable_variables[0]
    weights = first.numpy()
    try:
        first.assign(weights + 0.1)
        other = odm.evaluate_detector(detector, EXAMPLES, metrics="voc")
    finally:
        first.assign(weights)
    assert other["Loss/regularization_loss"] != found["Loss/regularization_loss"]

    path = odm.export_detector(detector, tmp_path / "exported")
    exported = odm.load_detector(path)
    assert exported.class_names == detector.class_names
    image = EXAMPLES[0]["image"]
    expected = detector.predict(image)
    np.testing.assert_allclose(exported.predict(image).scores, expected.scores, atol=1e-5)
    assert odm.evaluate_detector(exported, EXAMPLES, metrics="voc")[MAP] == pytest.approx(
        found[MAP], abs=1e-4
    )
    with pytest.raises(ValueError, match="which can only detect"):
        odm.export_detector(exported, tmp_path / "again")


@pytest.mark.slow
def test_a_model_that_finds_everything_has_the_best_metrics(detector, tmp_path):
    model = true_detections(detector)
    found = odm.evaluate_detector(model, EXAMPLES, metrics="voc", report=tmp_path / "report")
    assert found[MAP] == 1.0
    assert (tmp_path / "report" / "report.html").is_file()
    assert odm.evaluate_detector(model, EXAMPLES, metrics="coco")[
        "DetectionBoxes_Precision/mAP"
    ] == pytest.approx(1.0)


def test_a_model_without_configuration_needs_class_names(detector):
    model = true_detections(detector)
    model.config = None
    assert odm.evaluate_detector(model, EXAMPLES, metrics="voc")[MAP] == 1.0
    model.class_names = {}
    with pytest.raises(ValueError, match="neither a configuration nor class names"):
        odm.evaluate_detector(model, EXAMPLES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "vocc"}, 'did you mean "voc"'),
        ({}, "placeholder of a sample; give the dataset"),
        ({"dataset": []}, "no usable image"),
        ({"dataset": EXAMPLES, "report_options": object()}, "report_options need a report"),
    ],
)
def test_wrong_arguments_are_one_clear_error(detector, options, message):
    with pytest.raises(ValueError, match=message):
        odm.evaluate_detector(detector, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "onxn"}, "format is 'onxn', expected one of"),
        ({"format": "tflite"}, "is not supported"),
        ({"precision": "int4"}, "precision is 'int4'"),
        ({"precision": "int8"}, "'int8' is unsupported in format 'saved_model'"),
        ({"input_type": "image"}, "input type 'image'"),
    ],
)
def test_wrong_options_of_an_export_are_one_clear_error(detector, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        odm.export_detector(detector, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_metrics_have_short_names():
    from object_detection_mtl.config import validation

    assert set(detector_evaluation.METRICS.values()) <= set(validation.METRICS)


def test_checkpoints_of_a_training_have_its_config_beside_them(tmp_path, monkeypatch):
    from object_detection_mtl import jobs

    calls = []

    def evaluate(*arguments, **options):
        calls.append((arguments, options))
        return {MAP: 0.5}

    monkeypatch.setattr(jobs, "evaluate", evaluate)
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no pipeline.config beside .*run'.*config="):
        odm.evaluate_checkpoints(tmp_path / "run")
    tiny_detectors.save_config(tmp_path / "run" / "pipeline.config")
    assert odm.evaluate_checkpoints(tmp_path / "run", timeout=5, metrics="coco") == {MAP: 0.5}
    [((config, directory, output_dir), options)] = calls
    assert directory == output_dir == str(tmp_path / "run")
    assert list(config.eval_config.metrics_set) == ["coco_detection_metrics"]
    assert (options["timeout"], options["once"], options["report"]) == (5, False, None)
    odm.evaluate_checkpoints(tmp_path / "run" / "ckpt-3", EXAMPLES, on_train_data=True)
    (config, prefix, output_dir), options = calls[1]
    assert (prefix, output_dir) == (str(tmp_path / "run" / "ckpt-3"), str(tmp_path / "run"))
    assert config.eval_input_reader[0].tf_record_input_reader.input_path[0].endswith(".record")
    assert options["on_train_data"] is False
