"""Configurations by name and path, and their settings."""

import pytest

import object_detection_mtl as odm
from object_detection_mtl.api import config_loading
from object_detection_mtl.config import pipeline, samples

SAMPLE = "faster_rcnn_mobilenet_v1_mtl_voc07"


def test_a_sample_is_found_by_name_with_and_without_extension():
    expected = pipeline.load(samples.path(f"{SAMPLE}.config"))
    assert odm.load_config(SAMPLE) == expected
    assert odm.load_config(f"{SAMPLE}.config") == expected


def test_a_file_takes_precedence_over_a_sample(tmp_path, monkeypatch):
    pipeline.save(odm.load_config(SAMPLE, num_classes=7), tmp_path / f"{SAMPLE}.config")
    monkeypatch.chdir(tmp_path)
    assert odm.load_config(f"{SAMPLE}.config").model.faster_rcnn.num_classes == 7
    assert odm.load_config(tmp_path / f"{SAMPLE}.config").model.faster_rcnn.num_classes == 7


def test_settings_and_overrides_are_applied_in_this_order():
    config = odm.load_config(
        SAMPLE,
        ["train_config.batch_size=3"],
        batch_size=2,
        num_steps=5,
        fine_tune_checkpoint=None,
        train_records=["a.record", "b.record"],
        label_map="map.pbtxt",
        **{"train_config.optimizer.use_moving_average": True},
    )
    assert config.train_config.batch_size == 3
    assert config.train_config.num_steps == 5
    assert not config.train_config.fine_tune_checkpoint
    reader = config.train_input_reader
    assert list(reader.tf_record_input_reader.input_path) == ["a.record", "b.record"]
    assert reader.label_map_path == config.eval_input_reader[0].label_map_path == "map.pbtxt"
    assert config.train_config.optimizer.use_moving_average


@pytest.mark.parametrize(
    ("source", "settings", "kind", "message"),
    [
        ("faster_rcnn_mobilenet_v1_mtl_voc7", {}, FileNotFoundError, f'did you mean "{SAMPLE}"'),
        ("nothing_like_it", {}, FileNotFoundError, "the samples are faster_rcnn_"),
        ("no_directory/a.config", {}, FileNotFoundError, "no_directory does not exist"),
        (SAMPLE, {"num_clases": 3}, ValueError, 'did you mean "num_classes"'),
        (SAMPLE, {"num_classes": "three"}, ValueError, "num_classes holds an integer"),
        (SAMPLE, {"num_classes": -1}, ValueError, "num_classes"),
        (3, {}, ValueError, "source has the type int"),
    ],
)
def test_wrong_input_is_one_clear_error(source, settings, kind, message):
    with pytest.raises(kind, match=message):
        odm.load_config(source, **settings)


def test_a_config_may_be_given_as_message_or_name():
    config = odm.load_config(SAMPLE)
    assert config_loading.as_config(config) is config
    assert config_loading.as_config(SAMPLE) == config
    with pytest.raises(ValueError, match="config has the type dict"):
        config_loading.as_config({})
