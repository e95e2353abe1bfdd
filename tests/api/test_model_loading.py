"""Detectors from exports and checkpoints, and what they detect."""

import shutil

import numpy as np
import pytest
from PIL import Image

import object_detection_mtl as odm
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.inference import predictor
from tests.api import tiny_detectors

IMAGE = tiny_detectors.image()


@pytest.fixture(scope="module")
def detector():
    return odm.build_detector(tiny_detectors.config(), class_names=["square", "stripe"])


@pytest.fixture(scope="module")
def exported(detector, tmp_path_factory):
    """An export with its label map beside the configuration."""
    directory = tmp_path_factory.mktemp("exported")
    saved_model.export_detector(
        detector.model,
        str(directory),
        config_text=pipeline.to_text(detector.config),
        options=ExportOptions(dynamic_batch=True),
    )
    (directory / "label_map.pbtxt").write_text(
        'item { id: 1 name: "square" }\nitem { id: 2 name: "stripe" }\n'
    )
    return directory


def same(found, expected):
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert list(found.class_ids) == list(expected.class_ids)
    assert found.image_size == expected.image_size


def same_weights(found, expected):
    for ours, theirs in zip(found.model.variables, expected.model.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_image_and_a_list(detector, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(tiny_detectors.image(1)).save(tmp_path / "b.png")
    found = detector.predict(IMAGE)
    assert found.image_size == (64, 80)
    assert len(found)
    assert set(found.class_names) <= {"square", "stripe"}
    assert np.all(found.boxes <= [64, 80, 64, 80])
    assert np.all(np.diff(found.scores) <= 0)
    for image in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(IMAGE)):
        same(detector.predict(image), found)
    pair = detector.predict([IMAGE, tiny_detectors.image(1)], batch_size=2)
    same(pair[0], found)
    of_directory = detector.predict(tmp_path)
    assert [item.path for item in of_directory] == [
        str(tmp_path / name) for name in ("a.png", "b.png")
    ]
    same(of_directory[1], pair[1])
    of_batch = detector.predict(np.stack([IMAGE, IMAGE]))
    same(of_batch[1], found)
    assert len(detector.predict(IMAGE, max_detections=2)) == 2
    assert len(detector.predict(IMAGE, min_score=1.0)) == 0


def test_a_training_detector_detects_too(detector):
    """`is_training` is only the default of the network's `predict`."""
    expected = detector.predict(IMAGE)
    detector.model.is_training = True
    try:
        other = odm.Detector(
            lambda images: predictor.from_detector(detector.model), model=detector.model
        )
        same(other.predict(IMAGE), expected)
    finally:
        detector.model.is_training = False


@pytest.mark.slow
def test_checkpoints_and_exports_load(detector, exported, tmp_path):
    expected = detector.predict(IMAGE)
    sources = set()
    for path in (exported, exported / "saved_model", exported / "saved_model" / "saved_model.pb"):
        loaded = odm.load_detector(path)
        assert loaded.model is None
        sources.add(loaded.source)
    assert len(sources) == 1
    same(loaded.predict(IMAGE), expected)
    run = tmp_path / "run"
    shutil.copytree(exported / "checkpoint", run)
    for name in ("pipeline.config", "label_map.pbtxt"):
        shutil.copy(exported / name, run)
    for path in (run, exported / "checkpoint", f"{run}/ckpt-0"):
        loaded = odm.load_detector(path)
        assert loaded.model is not None
        assert loaded.class_names == tiny_detectors.NAMES
        same_weights(loaded, detector)
    same(loaded.predict(IMAGE), expected)
    assert odm.load_detector(run, class_names=["a", "b"]).class_names == {1: "a", 2: "b"}
    (run / "pipeline.config").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no pipeline.config beside it"):
        odm.load_detector(run)
    same_weights(odm.load_detector(run, config=detector.config), detector)


def test_an_export_is_warmed_up_when_it_is_loaded(exported, monkeypatch):
    warmed = []
    monkeypatch.setattr(predictor, "warm_up", warmed.append)
    loaded = odm.load_detector(exported)
    assert warmed == [loaded.predictor(list)]


def test_an_exported_model_only_detects(exported):
    loaded = odm.load_detector(exported)
    with pytest.raises(ValueError, match="is an exported model, which can only detect"):
        loaded.require_model("train it")


def test_files_are_detected_in_as_by_the_command(detector, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    summary = detector.detect_files(tmp_path / "a.png", tmp_path / "out", save_images=False)
    assert summary.num_done == 1
    assert (tmp_path / "out" / "detections.json").is_file()
    with pytest.raises(ValueError, match="detect_files has no such option"):
        detector.detect_files(tmp_path / "a.png", tmp_path / "out2", batchsize=3)


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        ([], ValueError, "images is an empty list"),
        (np.zeros((4, 4, 3)), ValueError, "dtype float64; expected uint8"),
        (np.zeros((4, 4), np.uint8), ValueError, r"shape \[4, 4\]"),
        ("no.png", FileNotFoundError, "image 'no.png' does not exist"),
        (None, ValueError, "has the type NoneType"),
        ([IMAGE, 3], ValueError, r"images\[1\] has the type int"),
        (__file__, ValueError, "cannot be read: not an image"),
    ],
)
def test_wrong_images_are_one_clear_error(detector, images, kind, message):
    with pytest.raises(kind, match=message):
        detector.predict(images)


@pytest.mark.parametrize("arguments", [{"min_score": 2}, {"max_detections": 0}, {"batch_size": 0}])
def test_arguments_out_of_range_are_an_error(detector, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
        detector.predict(IMAGE, **arguments)


def test_a_path_without_a_model_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no detector in the directory"):
        odm.load_detector(tmp_path)
    with pytest.raises(FileNotFoundError, match="no detector .*ckpt-3"):
        odm.load_detector(tmp_path / "ckpt-3")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        odm.load_detector(tmp_path / "none" / "ckpt-3")
    with pytest.raises(ValueError, match="is empty"):
        odm.load_detector("")
    with pytest.raises(ValueError, match="path has the type NoneType"):
        odm.load_detector(None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_streams": 2.0}, r"num_streams is 2.0 of the type float; expected a whole number"),
        ({"num_streams": "2"}, r"num_streams is '2' of the type str"),
        ({"engine": "auto", "auto_max_difference": "0.2"}, r"'0.2' of the type str; expected a nu"),
        ({"engine": "auto", "auto_candidates": "gone"}, r"no model.xml or model.onnx at 'gone'"),
    ],
)
def test_numbers_of_another_type_and_one_candidate(exported, arguments, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        odm.load_detector(exported, **arguments)


@pytest.mark.parametrize("arguments", [{"min_score": "0.5"}, {"max_detections": 2.5}])
def test_predict_names_a_number_of_another_type(detector, arguments):
    [(name, value)] = arguments.items()
    with pytest.raises(ValueError, match=rf"{name} is {value!r} of the type"):
        detector.predict(IMAGE, **arguments)
