"""Overrides: every kind of field, and errors that quote the override."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection_mtl.config import overrides, pipeline
from object_detection_mtl.protos import pipeline_pb2
from tests.config.sources import parse


def changed(*texts):
    """Return an empty configuration with overrides."""
    config = pipeline_pb2.TrainEvalPipelineConfig()
    overrides.apply(config, texts)
    return config


def test_scalars_of_every_kind():
    train = changed(
        "train_config.batch_size=4",
        "train_config.gradient_clipping_by_norm = 2.5",
        "train_config.use_bfloat16=true",
        "train_config.fine_tune_checkpoint=/a b/model.ckpt-1=2",
        "train_config.gradient_clipping_mode=PER_VARIABLE",
        "train_config.max_number_of_boxes=-1",
    ).train_config
    assert train.batch_size == 4
    assert train.gradient_clipping_by_norm == 2.5
    assert train.use_bfloat16 is True
    assert train.fine_tune_checkpoint == "/a b/model.ckpt-1=2"
    assert train.gradient_clipping_mode == train.PER_VARIABLE
    assert train.max_number_of_boxes == -1


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)],
)
def test_truth_values(text, value):
    assert changed(f"train_config.use_bfloat16={text}").train_config.use_bfloat16 is value


@pytest.mark.parametrize("text", ["'block1'", '"block1"', "block1"])
def test_text_may_be_quoted(text):
    config = changed(f"model.faster_rcnn.feature_extractor.freeze_layer={text}")
    assert config.model.faster_rcnn.feature_extractor.freeze_layer == "block1"


def test_empty_text_is_a_value():
    extractor = changed(
        "model.faster_rcnn.feature_extractor.freeze_layer="
    ).model.faster_rcnn.feature_extractor
    assert extractor.HasField("freeze_layer")
    assert extractor.freeze_layer == ""


def test_enums_by_number():
    train = changed("train_config.gradient_clipping_mode=1").train_config
    assert train.gradient_clipping_mode == train.PER_VARIABLE


def test_later_overrides_take_precedence():
    config = changed("train_config.batch_size=4", "train_config.batch_size=8")
    assert config.train_config.batch_size == 8


def test_repeated_scalars():
    grid = "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator"
    config = changed(
        f"{grid}.scales=[0.5, 1, 2]",
        f"{grid}.scales[1]=1.5",
        f"{grid}.scales[3]=4",
        f"{grid}.aspect_ratios=0.25",
        "train_config.freeze_variables=[a, 'b, c', \"d\"]",
    )
    generator = config.model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
    assert list(generator.scales) == [0.5, 1.5, 2, 4]
    assert list(generator.aspect_ratios) == [0.25]
    assert list(config.train_config.freeze_variables) == ["a", "b, c", "d"]
    overrides.apply(config, [f"{grid}.scales=[]"])
    assert not generator.scales


def test_repeated_messages():
    config = changed(
        "eval_input_reader[0].name=first",
        "eval_input_reader[1].name=second",
        "eval_input_reader[0].label_map_path=a.pbtxt",
        "train_config.data_augmentation_options=[{random_horizontal_flip {probability: 0.25}}, {}]",
        "train_config.data_augmentation_options[1]={random_rotation90 {}}",
    )
    assert [reader.name for reader in config.eval_input_reader] == ["first", "second"]
    assert config.eval_input_reader[0].label_map_path == "a.pbtxt"
    steps = config.train_config.data_augmentation_options
    assert steps[0].random_horizontal_flip.probability == 0.25
    assert steps[1].WhichOneof("preprocessing_step") == "random_rotation90"


def test_the_only_element_needs_no_index():
    config = changed("eval_input_reader.tf_record_input_reader.input_path=val.record")
    assert list(config.eval_input_reader[0].tf_record_input_reader.input_path) == ["val.record"]
    overrides.apply(config, ["eval_input_reader.name=val"])
    assert len(config.eval_input_reader) == 1
    overrides.apply(config, ["eval_input_reader[1].name=test"])
    with pytest.raises(pipeline.ConfigError, match=r"there are 2 of eval_input_reader"):
        overrides.apply(config, ["eval_input_reader.name=val"])


def test_another_member_of_a_oneof_replaces_the_former():
    config = parse(
        "train_config.optimizer.adam_optimizer.learning_rate.constant_learning_rate."
        "learning_rate=0.01",
        "model.faster_rcnn.image_resizer.fixed_shape_resizer.height=200",
    )
    assert config.train_config.optimizer.WhichOneof("optimizer") == "adam_optimizer"
    resizer = config.model.faster_rcnn.image_resizer
    assert resizer.WhichOneof("image_resizer_oneof") == "fixed_shape_resizer"
    assert (resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width) == (200, 300)


def test_whole_messages_replace():
    config = parse(
        "train_config.optimizer={adam_optimizer {learning_rate {constant_learning_rate "
        "{learning_rate: 0.5}}}}"
    )
    rate = config.train_config.optimizer.adam_optimizer.learning_rate
    assert rate.constant_learning_rate.learning_rate == 0.5


def test_one_text_is_one_override():
    config = pipeline_pb2.TrainEvalPipelineConfig()
    overrides.apply(config, "train_config.batch_size=4")
    assert config.train_config.batch_size == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train_config.batch_size", 'has no "="'),
        ("train_config.batchsize=4", 'TrainConfig has no field "batchsize"; did you mean "batch_s'),
        ("train_confg.batch_size=4", 'did you mean "train_config"'),
        ("train_config.batch_size=four", "batch_size holds an integer of at least 0, not 'four'"),
        ("train_config.batch_size=4.5", "not '4.5'"),
        ("train_config.batch_size=-4", "batch_size holds an integer of at least 0"),
        ("train_config.batch_size=99999999999", "batch_size holds an integer of at least 0"),
        ("train_config.gradient_clipping_by_norm=much", "holds a number, not 'much'"),
        ("train_config.use_bfloat16=maybe", "holds true or false, not 'maybe'"),
        (
            "train_config.gradient_clipping_mode=GLOBALNORM",
            'one of GLOBAL_NORM, PER_VARIABLE, not .*did you mean "GLOBAL_NORM"',
        ),
        ("train_config.gradient_clipping_mode=7", "holds one of"),
        ("train_config=4", "holds a TrainConfig message.*protobuf text"),
        ("train_config={batch_sise: 4}", 'did you mean "batch_size"'),
        (
            "train_config.batch_size.x=4",
            "batch_size holds an integer of at least 0; it has no fields",
        ),
        ("train_config.batch_size[0]=4", r"batch_size is not repeated: remove \[0\]"),
        ("eval_input_reader[2].name=x", r"has 0 elements: \[0\] appends"),
        ("train_config.freeze_variables[1]=x", r"has 0 elements: \[0\] appends"),
        ("train_config..batch_size=4", '"" is not a field name'),
        ("train_config.freeze_variables[x]=4", "is not a field name"),
        ("train_config.freeze_variables[-1]=4", "is not a field name"),
        ("eval_config.super_categories=a", "is a map"),
        ("=4", '"" is not a field name'),
    ],
)
def test_errors_quote_the_override_and_the_expected_form(override, message):
    with pytest.raises(pipeline.ConfigError, match=message) as error:
        changed(override)
    assert f'override "{override}"' in str(error.value)


def test_overrides_are_validated_with_the_rest():
    with pytest.raises(pipeline.ConfigError, match="num_classes = 0: must be at least 1"):
        parse("model.faster_rcnn.num_classes=0")


def test_overrides_come_before_the_dialect():
    config = parse(
        "config_dialect=MTL_SSL", "model.faster_rcnn.feature_extractor.type=frcnn_mobilenet_v1"
    )
    assert config.model.faster_rcnn.feature_extractor.type == "faster_rcnn_mobilenet_v1"


@settings(max_examples=50, deadline=None)
@given(
    norm=st.floats(0, 2.0**100, width=32),
    name=st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    scales=st.lists(st.floats(2**-20, 2**20, width=32), min_size=1, max_size=5),
)
def test_any_value_survives_saving(norm, name, scales):
    """Numbers are saved exactly, names with any character."""
    config = parse(
        f"train_config.gradient_clipping_by_norm={norm!r}",
        f'eval_input_reader.name="{name}"',
        "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator."
        f"scales={[*scales]!r}",
    )
    assert config.train_config.gradient_clipping_by_norm == norm
    assert config.eval_input_reader[0].name == name
    generator = config.model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
    assert list(generator.scales) == scales
    assert pipeline.parse(pipeline.to_text(config)) == config
