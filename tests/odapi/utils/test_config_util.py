"""Configs as dictionaries of protos, and back."""

import pytest
from google.protobuf import text_format

from object_detection_mtl.config import pipeline, samples
from object_detection_mtl.odapi.builders import model_builder
from object_detection_mtl.odapi.protos import optimizer_pb2, pipeline_pb2
from object_detection_mtl.odapi.utils import config_util

SSD = """
model { ssd { num_classes: 3 image_resizer { fixed_shape_resizer { height: 320 width: 640 } } } }
train_config {
  batch_size: 8
  optimizer { adam_optimizer { learning_rate { cosine_decay_learning_rate {} } } }
}
train_input_reader { tf_record_input_reader { input_path: "a" } }
eval_config {}
eval_input_reader { shuffle: false }
eval_input_reader { name: "second" }
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "ssd.config").write_text(SSD)
    return str(tmp_path / "ssd.config")


@pytest.fixture
def configs(path):
    return config_util.get_configs_from_pipeline_file(path)


def test_configs_of_any_model_are_read(configs):
    assert set(configs) == {
        "model",
        "train_config",
        "train_input_config",
        "eval_config",
        "eval_input_configs",
        "eval_input_config",
    }
    assert configs["model"].ssd.num_classes == 3
    assert configs["eval_input_config"] is configs["eval_input_configs"][0]
    assert config_util.get_number_of_classes(configs["model"]) == 3
    resizer = config_util.get_image_resizer_config(configs["model"])
    assert config_util.get_spatial_image_size(resizer) == [320, 640]
    assert config_util.get_optimizer_type(configs["train_config"]) == "adam_optimizer"
    adam = configs["train_config"].optimizer.adam_optimizer
    assert config_util.get_learning_rate_type(adam) == "cosine_decay_learning_rate"


@pytest.mark.parametrize("as_text", [True, False])
def test_overrides_are_merged(path, as_text):
    override = "model { ssd { num_classes: 5 } } train_config { batch_size: 1 }"
    if not as_text:
        override = text_format.Parse(override, pipeline_pb2.TrainEvalPipelineConfig())
    configs = config_util.get_configs_from_pipeline_file(path, config_override=override)
    assert configs["model"].ssd.num_classes == 5
    assert configs["train_config"].batch_size == 1
    assert configs["model"].ssd.image_resizer.fixed_shape_resizer.height == 320


def test_edits_are_written_back(configs, tmp_path):
    configs["model"].ssd.num_classes = 7
    configs["eval_input_config"].label_map_path = "map.pbtxt"
    proto = config_util.create_pipeline_proto_from_configs(configs)
    config_util.save_pipeline_config(proto, str(tmp_path / "new"))
    again = config_util.get_configs_from_pipeline_file(tmp_path / "new" / "pipeline.config")
    assert again["model"].ssd.num_classes == 7
    assert again["eval_input_configs"][0].label_map_path == "map.pbtxt"
    assert again["eval_input_configs"][1].name == "second"


def test_text_format_in_the_form_of_scripts(path, tmp_path):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    with open(path) as file:
        text_format.Merge(file.read(), config)
    config.model.ssd.num_classes = 2
    config.train_input_reader.tf_record_input_reader.input_path[:] = ["b"]
    text = text_format.MessageToString(config)
    assert 'input_path: "b"' in text


@pytest.mark.parametrize("sample", ["faster_rcnn_resnet101_mtl_voc07", "rfcn_resnet101_voc07"])
def test_a_resolved_config_survives(sample, tmp_path):
    resolved = pipeline.load(samples.path(f"{sample}.config"))
    pipeline.save(resolved, tmp_path / "a" / "pipeline.config")
    configs = config_util.get_configs_from_pipeline_file(tmp_path / "a" / "pipeline.config")
    proto = config_util.create_pipeline_proto_from_configs(configs)
    config_util.save_pipeline_config(proto, tmp_path / "b")
    assert pipeline.load(tmp_path / "b" / "pipeline.config") == resolved
    assert model_builder.resolve_config(configs["model"]) == resolved.model


def test_parameters_by_name(configs):
    merged = config_util.merge_external_params_with_configs(
        configs,
        kwargs_dict={
            "train_steps": 50,
            "learning_rate": 0.5,
            "sample_1_of_n_eval_examples": 3,
            "label_map_path": "map.pbtxt",
            "train_input_path": ["b", "c"],
            "eval_shuffle": True,
            "train_config.batch_size": 2,
            "eval_num_examples": None,
        },
    )
    assert merged is configs
    assert configs["train_config"].num_steps == 50
    assert configs["train_config"].batch_size == 2
    adam = configs["train_config"].optimizer.adam_optimizer
    assert adam.learning_rate.cosine_decay_learning_rate.learning_rate_base == 0.5
    assert [r.sample_1_of_n_examples for r in configs["eval_input_configs"]] == [3, 3]
    assert configs["eval_input_config"].shuffle
    assert configs["train_input_config"].tf_record_input_reader.input_path == ["b", "c"]


def test_an_unknown_parameter_is_named(configs):
    with pytest.raises(ValueError, match='did you mean "batch_size"'):
        config_util.merge_external_params_with_configs(configs, kwargs_dict={"batchsize": 2})


def test_models_of_other_kinds_are_refused_when_they_are_built(configs):
    with pytest.raises(ValueError, match="SSD is not supported"):
        model_builder.build(configs["model"], is_training=False)


def test_message_classes_are_those_of_the_config(configs):
    assert isinstance(configs["train_config"].optimizer, optimizer_pb2.Optimizer)
