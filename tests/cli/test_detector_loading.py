import pytest
import tensorflow as tf

from object_detection_mtl.cli import detector_loading


@pytest.mark.parametrize(
    ("file", "argument"),
    [
        ("saved_model/saved_model.pb", "."),
        ("saved_model.pb", "."),
        ("model.onnx", "."),
        ("model.xml", "model.xml"),
    ],
)
def test_exports_are_known_by_their_files(file, argument, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    model = detector_loading.find_model(str(tmp_path / argument))
    assert str(tmp_path / file) in model.version


def test_a_run_is_its_config_and_newest_checkpoint(tmp_path):
    (tmp_path / "pipeline.config").write_text("")
    prefix = tf.train.Checkpoint(step=tf.Variable(3)).save(str(tmp_path / "ckpt"))
    model = detector_loading.find_model(str(tmp_path))
    assert str(tmp_path / "pipeline.config") in model.version
    assert f"{prefix}.index" in model.version


def test_detections_have_no_model(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    assert detector_loading.find_model(str(tmp_path / "a.json")) is None
    assert detector_loading.find_model(str(tmp_path)) is None
    assert detector_loading.find_model(str(tmp_path / "missing")) is None


def test_a_run_without_checkpoint_is_an_error(tmp_path):
    (tmp_path / "pipeline.config").write_text("")
    with pytest.raises(FileNotFoundError):
        detector_loading.find_model(str(tmp_path))
