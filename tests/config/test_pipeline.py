"""Loading and saving of configurations."""

import logging

import pytest

from object_detection_mtl.config import pipeline
from object_detection_mtl.protos import dialect_pb2
from tests.config.sources import DATA, MINIMAL, parse
from tests.golden import original_configs

SUPPORTED = [
    "fork_faster_rcnn.config",
    "fork_rfcn.config",
    "odapi_rfcn.config",
    "odapi_tf1_faster_rcnn.config",
    "odapi_tf2_faster_rcnn.config",
]


@pytest.mark.parametrize("name", SUPPORTED)
def test_both_dialects_load_and_save_without_change(name, tmp_path):
    config = pipeline.load(DATA / name)
    assert config.dialect_resolved
    path = tmp_path / "new directory" / "pipeline.config"
    pipeline.save(config, path)
    again = pipeline.load(path)
    assert again == config
    assert pipeline.to_text(again) == path.read_text()


@pytest.mark.parametrize("name", SUPPORTED)
def test_test_configurations_cover_the_dialect_in_their_name(name):
    expected = dialect_pb2.MTL_SSL if name.startswith("fork") else dialect_pb2.ODAPI
    assert pipeline.load(DATA / name).config_dialect == expected


@pytest.mark.parametrize(
    ("name", "word"),
    [("odapi_ssd.config", "SSD"), ("odapi_center_net.config", "CenterNet")],
)
def test_other_meta_architectures_are_read_and_refused(name, word):
    with pytest.raises(pipeline.ConfigError, match=rf"{word} is not supported.*Faster R-CNN"):
        pipeline.load(DATA / name)


def test_values_arrive():
    config = pipeline.load(DATA / "odapi_tf2_faster_rcnn.config")
    anchors = config.model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
    assert list(anchors.scales) == [0.25, 0.5]
    assert len(config.train_input_reader.tf_record_input_reader.input_path) == 2
    assert [reader.name for reader in config.eval_input_reader] == ["", "test"]
    assert config.train_config.max_number_of_boxes == 100


def test_max_number_of_boxes_has_no_default():
    assert not parse().train_config.HasField("max_number_of_boxes")


def test_the_authors_configurations_load_as_the_fork_dialect():
    texts = original_configs.texts()
    assert len(texts) == 18
    for name, text in texts.items():
        config = pipeline.parse(text)
        assert config.config_dialect == dialect_pb2.MTL_SSL, name
        assert config.model.faster_rcnn.feature_extractor.freeze_layer == "block1", name
        assert pipeline.parse(pipeline.to_text(config)) == config, name


def test_text_can_be_merged(tmp_path):
    path = tmp_path / "a.config"
    path.write_text(MINIMAL)
    merge = (
        "train_config { batch_size: 7 } "
        'train_input_reader { tf_record_input_reader { input_path: "more.record" } }'
    )
    config = pipeline.load(path, ["train_config.batch_size=8"], merge=merge)
    paths = config.train_input_reader.tf_record_input_reader.input_path
    assert list(paths) == ["train.record", "more.record"]
    assert config.train_config.batch_size == 8
    with pytest.raises(pipeline.ConfigError, match="text to merge, line 1: .*batch_size"):
        pipeline.load(path, merge="train_config { batchsize: 7 }")


def test_an_unknown_field_names_line_and_nearest_field():
    text = "model {\n  faster_rcnn {\n    num_clases: 20\n  }\n}"
    with pytest.raises(pipeline.ConfigError) as error:
        pipeline.parse(text, source="my.config")
    assert str(error.value) == (
        'my.config, line 3: FasterRcnn has no field "num_clases"; did you mean "num_classes"?\n'
        "    num_clases: 20"
    )


def test_a_field_in_the_wrong_message_names_the_right_one():
    with pytest.raises(pipeline.ConfigError, match="line 2.*it is a field of TrainConfig"):
        pipeline.parse("model {\n  num_steps: 20\n}")


def test_an_unknown_field_like_no_other_lists_the_known_ones():
    with pytest.raises(pipeline.ConfigError, match="its fields are model, train_config"):
        pipeline.parse("zzzzzz: 1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_config { batch_size: many }", 'line 1: .*parse integer: "?many'),
        ("train_config { batch_size: -1 }", "line 1: Value out of range: -1"),
        ("train_config { use_bfloat16: maybe }", 'Expected "true" or "false"'),
        ("train_config {", 'line 1: the text is truncated: expected "}"'),
        ("train_config {\n  batch_size: 1\n", 'line 2: the text is truncated: expected "}"'),
        ("train_config {\n  batch_size:\n", "line 3: the text is truncated: couldn't parse int"),
        ("train_config", 'line 1: the text is truncated: expected "{"'),
        ("train_config { gradient_clipping_mode: GLOBALNORM }", 'did you mean "GLOBAL_NORM"'),
        ("config_dialect: THIRD", "allowed: AUTO, ODAPI, MTL_SSL"),
    ],
)
def test_malformed_text_is_explained(line, message):
    with pytest.raises(pipeline.ConfigError, match=message) as error:
        pipeline.parse(line)
    assert "protos." not in str(error.value)


def test_a_very_long_line_is_not_quoted_whole():
    with pytest.raises(pipeline.ConfigError) as error:
        pipeline.parse('{"annotations": [' + "1, " * 10_000 + "]}")
    assert len(str(error.value)) < 400


def test_of_two_detectors_the_last_counts():
    with pytest.raises(pipeline.ConfigError, match="SSD is not supported"):
        pipeline.parse("model { faster_rcnn {} ssd {} }")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train_config {\n  num_steps: 1\n  num_steps: 2\n}",
            "line 3: num_steps is given a second",
        ),
        ("train_config { num_steps: 1 }\ntrain_config { num_steps: 2 }", "train_config is given"),
    ],
)
def test_repeated_fields_have_the_last_value(text, message, caplog):
    assert pipeline.parse(f"{text}\n{MINIMAL}").train_config.num_steps == 2
    assert message in caplog.text


def test_errors_after_a_repeated_field_are_found():
    with pytest.raises(pipeline.ConfigError, match='line 1: .*no field "batchsize"'):
        pipeline.parse("train_config { num_steps: 1 num_steps: 2 batchsize: 3 }")


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_configuration_is_refused(text):
    with pytest.raises(pipeline.ConfigError, match="empty"):
        pipeline.parse(text)


def test_a_configuration_without_a_detector_is_refused():
    with pytest.raises(pipeline.ConfigError, match="model: is missing"):
        pipeline.parse("train_config { batch_size: 1 }")


def test_a_missing_file_suggests_the_nearest_name(tmp_path):
    (tmp_path / "pipeline.config").write_text(MINIMAL)
    with pytest.raises(FileNotFoundError, match='did you mean "pipeline.config"'):
        pipeline.load(tmp_path / "pipline.config")
    with pytest.raises(FileNotFoundError, match="directory .*nowhere does not exist either"):
        pipeline.load(tmp_path / "nowhere" / "pipeline.config")


def test_a_directory_and_a_binary_file_are_refused(tmp_path):
    with pytest.raises(pipeline.ConfigError, match="is a directory"):
        pipeline.load(tmp_path)
    (tmp_path / "image.jpg").write_bytes(b"\xff\xd8\xff\xe0 not text")
    with pytest.raises(pipeline.ConfigError, match="not a text file"):
        pipeline.load(tmp_path / "image.jpg")


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.config").write_text(MINIMAL, encoding="utf-8-sig")
    assert pipeline.load(tmp_path / "a.config").model.faster_rcnn.num_classes == 3


def test_config_error_is_a_value_error():
    assert issubclass(pipeline.ConfigError, ValueError)


def test_ignored_fields_are_reported_once_by_name(caplog):
    with caplog.at_level(logging.WARNING):
        config = parse(
            "train_config.summarize_gradients=true",
            "train_config.replicas_to_aggregate=8",
            "eval_input_reader[0].num_keypoints=17",
            "eval_input_reader[1].num_keypoints=17",
        )
    message, count = [record.getMessage() for record in caplog.records]
    for path in ("train_config.summarize_gradients", "eval_input_reader[0].num_keypoints"):
        assert message.count(path) == 1
    assert "1 ignored fields change no result, such as train_config.replicas_to_aggregate" in count
    assert "eval_input_reader[1]" not in message
    # Loading the resolved configuration reports neither them nor the resolved defaults.
    caplog.clear()
    pipeline.parse(pipeline.to_text(config))
    assert not caplog.records


def test_nothing_is_reported_for_a_plain_configuration(caplog):
    parse()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_home_directory_of_a_path_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.config").write_text("model {}")
    assert pipeline.read_text("~/a.config") == "model {}"
