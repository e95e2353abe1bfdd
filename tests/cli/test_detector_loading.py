from pathlib import Path

import pytest

from object_detection_mtl.cli import detector_loading


@pytest.mark.parametrize(
    ("files", "argument"),
    [
        (["saved_model/saved_model.pb"], "."),
        (["saved_model.pb"], "."),
        (["model.onnx"], "."),
        (["model.xml"], "model.xml"),
        (["pipeline.config", "ckpt-3.index", "ckpt-3.data-00000-of-00001", "checkpoint"], "."),
    ],
)
def test_models_are_known_by_their_files(files, argument, tmp_path):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('model_checkpoint_path: "ckpt-3"' if name == "checkpoint" else "")
    model = detector_loading.find_model(str(tmp_path / argument))
    assert str(tmp_path / Path(files[0])) in model.version


def test_detections_have_no_model(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    assert detector_loading.find_model(str(tmp_path / "a.json")) is None
    assert detector_loading.find_model(str(tmp_path)) is None
    assert detector_loading.find_model(str(tmp_path / "missing")) is None


def test_a_run_without_checkpoint_is_an_error(tmp_path):
    (tmp_path / "pipeline.config").write_text("")
    with pytest.raises(FileNotFoundError):
        detector_loading.find_model(str(tmp_path))
