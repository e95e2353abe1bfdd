"""Class names of label maps, configs and SavedModels."""

import logging
import shutil

import pytest

from object_detection_mtl.config import pipeline
from object_detection_mtl.evaluation import checkpoint_evaluation
from object_detection_mtl.inference import model_files
from tests.export import exported
from tests.models import tiny


def label_map(path, name):
    path.write_text(f'item {{ id: 1 name: "{name}" }}')
    return path


def test_display_names_of_a_label_map():
    exported.config()
    assert model_files.names_from_label_map(str(exported.LABEL_MAP_PATH)) == exported.NAMES


def test_the_label_map_of_the_evaluation_is_preferred(tmp_path, monkeypatch):
    first, second = label_map(tmp_path / "a", "cat"), label_map(tmp_path / "b", "dog")

    def config(evaluation, training):
        return tiny.config(
            f"eval_input_reader.label_map_path={evaluation}",
            f"train_input_reader.label_map_path={training}",
        )

    assert model_files.names_from_config(config(first, second)) == {1: "cat"}
    assert model_files.names_from_config(config(tmp_path / "gone", second)) == {1: "dog"}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_files.names_from_config(config(f"~/{first.name}", second)) == {1: "cat"}


def test_proposals_have_the_class_object(tmp_path):
    path = label_map(tmp_path / "a", "cat")
    config = tiny.config(
        "model.faster_rcnn.first_stage_only=true", f"eval_input_reader.label_map_path={path}"
    )
    expected = checkpoint_evaluation.OBJECT
    assert model_files.names_from_config(config) == {expected.id: expected.display_name}


def test_a_missing_label_map_gives_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert model_files.names_from_config(tiny.config()) == {}  # a sample's placeholders
        assert not caplog.text
        readers = ("train_input_reader", "eval_input_reader[0]")
        moved = [f"{reader}.label_map_path=elsewhere/map.pbtxt" for reader in readers]
        assert model_files.names_from_config(tiny.config(*moved)) == {}
    assert "elsewhere/map.pbtxt does not exist on this machine" in caplog.text


@pytest.fixture
def model(tmp_path):
    """Return a copy of an export without its variables."""
    shutil.copytree(
        exported.export("image_tensor"), tmp_path / "out", ignore=shutil.ignore_patterns("var*")
    )
    return tmp_path / "out" / "saved_model"


def test_names_are_read_from_the_saved_model(model):
    assert model_files.names_from_saved_model(str(model)) == exported.NAMES


def test_names_are_read_from_the_config_beside_the_saved_model(model, tmp_path, caplog):
    (model / "assets" / "label_map.pbtxt").unlink()
    assert model_files.names_from_saved_model(str(model)) == exported.NAMES
    config = pipeline.load(
        model.parent / "pipeline.config",
        [f"eval_input_reader.label_map_path={label_map(tmp_path / 'b', 'dog')}"],
    )
    pipeline.save(config, model.parent / "pipeline.config")
    assert model_files.names_from_saved_model(str(model)) == {1: "dog"}
    (model.parent / "pipeline.config").write_text("of another version {}")
    with caplog.at_level(logging.WARNING):
        assert model_files.names_from_saved_model(str(model)) == {}
    assert "no class names from" in caplog.text
    (model.parent / "pipeline.config").unlink()
    assert model_files.names_from_saved_model(str(model)) == {}
