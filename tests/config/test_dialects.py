"""Detection and resolution of the config dialect."""

import pytest
from google.protobuf.descriptor import FieldDescriptor

from object_detection_mtl.config import dialects, pipeline, proto_messages
from object_detection_mtl.protos import dialect_pb2, hyperparams_pb2, pipeline_pb2, train_pb2
from tests.config.sources import DATA, MINIMAL, parse

ODAPI, MTL_SSL = dialect_pb2.ODAPI, dialect_pb2.MTL_SSL
GLOBAL_NORM = train_pb2.TrainConfig.GLOBAL_NORM
Hyperparams = hyperparams_pb2.Hyperparams
PER_VARIABLE = train_pb2.TrainConfig.PER_VARIABLE


def resolver(config):
    return config.model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer


def test_the_default_dialect_is_odapi():
    config = parse()
    assert config.config_dialect == ODAPI
    extractor = config.model.faster_rcnn.feature_extractor
    assert extractor.HasField("freeze_layer")
    assert extractor.freeze_layer == ""
    assert resolver(config).HasField("half_pixel_centers")
    assert resolver(config).half_pixel_centers is False
    assert config.model.faster_rcnn.HasField("clip_before_nms")
    assert config.model.faster_rcnn.clip_before_nms is False
    assert config.model.faster_rcnn.first_stage_localization_sigma == 1
    assert config.model.faster_rcnn.first_stage_activation == Hyperparams.RELU_6
    anchors = config.model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
    assert anchors.HasField("tf1_rounding")
    assert anchors.tf1_rounding is False
    assert config.model.faster_rcnn.HasField("number_of_stages")
    assert config.train_config.HasField("gradient_clipping_mode")
    assert config.train_config.gradient_clipping_mode == GLOBAL_NORM
    assert list(config.eval_config.metrics_set) == ["coco_detection_metrics"]
    assert config.eval_config.eval_interval_secs == 300
    assert config.train_input_reader.num_readers == 64
    assert config.eval_input_reader[0].num_readers == 64
    assert config.train_config.keep_checkpoint_every_n_hours == 10000


def test_the_fork_has_its_own_defaults():
    config = parse(text=MINIMAL + "config_dialect: MTL_SSL")
    assert config.model.faster_rcnn.feature_extractor.freeze_layer == "block1"
    assert resolver(config).HasField("half_pixel_centers")
    assert resolver(config).half_pixel_centers is False
    assert config.model.faster_rcnn.clip_before_nms is True
    assert config.model.faster_rcnn.first_stage_localization_sigma == 3
    assert config.model.faster_rcnn.first_stage_activation == Hyperparams.RELU
    anchors = config.model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator
    assert anchors.tf1_rounding is True
    assert config.train_config.gradient_clipping_mode == PER_VARIABLE
    assert list(config.eval_config.metrics_set) == ["pascal_voc_detection_metrics"]
    assert config.eval_config.eval_interval_secs == 120
    assert config.train_input_reader.num_readers == 8
    assert config.train_config.keep_checkpoint_every_n_hours == 1000
    assert config.train_config.batch_queue_capacity == 600
    assert config.train_config.prefetch_queue_capacity == 10


def test_set_values_take_precedence_over_the_dialect():
    config = parse(
        "model.faster_rcnn.feature_extractor.freeze_layer=",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.half_pixel_centers=true",
        "model.faster_rcnn.clip_before_nms=false",
        "train_config.gradient_clipping_mode=GLOBAL_NORM",
        "eval_config.metrics_set=coco_metrics",
        "train_input_reader.num_readers=2",
        text=MINIMAL + "config_dialect: MTL_SSL",
    )
    assert config.model.faster_rcnn.feature_extractor.freeze_layer == ""
    assert resolver(config).half_pixel_centers is True
    assert config.model.faster_rcnn.clip_before_nms is False
    assert config.train_config.gradient_clipping_mode == GLOBAL_NORM
    assert list(config.eval_config.metrics_set) == ["coco_detection_metrics"]
    assert config.train_input_reader.num_readers == 2


@pytest.mark.parametrize(
    ("dialect", "written", "canonical"),
    [
        ("MTL_SSL", "frcnn_mobilenet_v1", "faster_rcnn_mobilenet_v1"),
        ("MTL_SSL", "faster_rcnn_inception_v2", "faster_rcnn_inception_resnet_v2"),
        ("MTL_SSL", "faster_rcnn_resnet101", "faster_rcnn_resnet101"),
        ("ODAPI", "faster_rcnn_resnet101_keras", "faster_rcnn_resnet101_keras"),
    ],
)
def test_type_names_become_canonical(dialect, written, canonical):
    text = MINIMAL.replace("faster_rcnn_mobilenet_v1", written)
    config = parse(text=f"{text} config_dialect: {dialect}")
    assert config.model.faster_rcnn.feature_extractor.type == canonical


INCEPTION_V2 = MINIMAL.replace("faster_rcnn_mobilenet_v1", "faster_rcnn_inception_v2")


def with_training_field(text, field):
    return text.replace("train_config {", f"train_config {{ {field}", 1)


def test_inception_v2_is_inception_resnet_only_with_fields_of_the_fork(caplog):
    config = parse(text=INCEPTION_V2)
    assert config.model.faster_rcnn.feature_extractor.type == "faster_rcnn_inception_v2"
    # The Object Detection API has the network in TensorFlow 1 only.
    assert config.train_config.gradient_clipping_mode == PER_VARIABLE
    config = parse("model.mtl.window=true", text=INCEPTION_V2)
    assert config.model.faster_rcnn.feature_extractor.type == "faster_rcnn_inception_v2"
    assert "Inception-ResNet-v2" not in caplog.text
    config = parse(text=with_training_field(INCEPTION_V2, "save_interval_secs: 600"))
    assert config.model.faster_rcnn.feature_extractor.type == "faster_rcnn_inception_resnet_v2"
    assert "for Inception v2 set config_dialect: ODAPI" in caplog.text


def test_the_error_of_mixed_dialects_explains_inception_v2():
    text = with_training_field(INCEPTION_V2, "save_interval_secs: 600 use_bfloat16: false")
    with pytest.raises(pipeline.ConfigError, match="MTL_SSL .*means Inception-ResNet-v2"):
        parse(text=text)


def test_feature_extractors_of_tensorflow_1_keep_its_conventions():
    config = pipeline.load(DATA / "odapi_tf1_faster_rcnn.config")
    assert config.config_dialect == ODAPI
    assert resolver(config).half_pixel_centers is False
    assert config.train_config.gradient_clipping_mode == PER_VARIABLE
    # The other conventions are specific to the fork.
    assert config.model.faster_rcnn.clip_before_nms is False
    assert config.model.faster_rcnn.first_stage_localization_sigma == 1
    assert config.model.faster_rcnn.feature_extractor.freeze_layer == ""
    assert list(config.eval_config.metrics_set) == ["coco_detection_metrics"]


def test_the_other_resizer_is_resolved_too():
    resizer = pipeline.load(
        DATA / "odapi_tf2_faster_rcnn.config"
    ).model.faster_rcnn.image_resizer.fixed_shape_resizer
    assert resizer.HasField("half_pixel_centers")
    assert not resizer.half_pixel_centers


@pytest.mark.parametrize(
    "mark",
    [
        "model { faster_rcnn { first_stage_only: false } }",
        "model { faster_rcnn { feature_extractor { weight_decay: 0.1 } } }",
        "model { faster_rcnn { second_stage_box_predictor { trainable: true } } }",
        "train_config { save_interval_secs: 600 }",
        "eval_config { coco_eval_options {} }",
        "train_config { optimizer { adam_optimizer { beta1: 0.9 } } }",
    ],
)
def test_a_field_of_the_fork_selects_the_fork(mark):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    proto_messages.parse_text(mark, config, "<test>")
    assert dialects.detect(config) == MTL_SSL


@pytest.mark.parametrize(
    "text",
    [
        "model { mtl { window: true window_box_predictor { trainable: true "
        "mask_rcnn_box_predictor { spatial_average: true } } } }",
        "model { mtl { label_source: RECORD num_windows: 32 } }",
        "model { faster_rcnn { clip_before_nms: true } }",
        "train_config { seed: 3 gradient_clipping_mode: PER_VARIABLE }",
        "model { faster_rcnn { number_of_stages: 2 } mtl { edgemask_predictor {} } }",
        "model { faster_rcnn { image_resizer { keep_aspect_ratio_resizer "
        "{ pad_to_max_dimension: true half_pixel_centers: false } } } }",
    ],
)
def test_the_auxiliary_tasks_and_our_own_fields_select_no_dialect(text):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    proto_messages.parse_text(text, config, "<test>")
    assert dialects.detect(config) == ODAPI


def test_adding_the_auxiliary_tasks_keeps_every_other_meaning():
    path = DATA / "odapi_tf2_faster_rcnn.config"
    plain = pipeline.load(path)
    extended = pipeline.load(
        path,
        [
            "model.mtl.window=true",
            "model.mtl.window_box_predictor.trainable=true",
            "model.mtl.window_box_predictor.mask_rcnn_box_predictor.spatial_average=true",
        ],
    )
    extended.model.ClearField("mtl")
    assert extended == plain


def test_a_mix_is_an_error_that_names_both():
    text = MINIMAL.replace("num_classes: 3", "num_classes: 3 number_of_stages: 2").replace(
        "train_config {", "train_config { save_interval_secs: 60"
    )
    with pytest.raises(pipeline.ConfigError) as error:
        parse(text=text)
    assert "model.faster_rcnn.number_of_stages" in str(error.value)
    assert "train_config.save_interval_secs" in str(error.value)
    assert "config_dialect: ODAPI" in str(error.value)
    # An explicit dialect resolves the ambiguity.
    assert parse(text=text + "config_dialect: ODAPI").config_dialect == ODAPI
    assert parse("config_dialect=MTL_SSL", text=text).config_dialect == MTL_SSL


def test_a_mix_inside_the_auxiliary_tasks_is_allowed():
    text = MINIMAL.replace(
        "model {",
        "model { mtl { closeness_box_predictor { trainable: true "
        "mask_rcnn_box_predictor { share_box_across_classes: true } } }",
        1,
    )
    assert parse(text=text).config_dialect == ODAPI


def test_an_override_does_not_switch_the_dialect():
    config = parse("model.faster_rcnn.feature_extractor.freeze_layer=block2")
    assert config.config_dialect == ODAPI
    assert config.model.faster_rcnn.feature_extractor.freeze_layer == "block2"
    assert config.train_config.gradient_clipping_mode == GLOBAL_NORM


def test_the_resolved_dialect_needs_no_marks():
    config = pipeline.load(DATA / "fork_faster_rcnn.config")
    config.train_config.ClearField("save_interval_secs")
    again = pipeline.parse(pipeline.to_text(config))
    assert again.config_dialect == MTL_SSL
    assert again.model.faster_rcnn.feature_extractor.freeze_layer == "block1"


def test_overriding_a_resolved_configuration_fills_in_what_is_new():
    text = pipeline.to_text(parse(text=MINIMAL + "config_dialect: MTL_SSL"))
    config = parse("model.faster_rcnn.image_resizer.fixed_shape_resizer.height=300", text=text)
    fixed = config.model.faster_rcnn.image_resizer.fixed_shape_resizer
    assert fixed.HasField("half_pixel_centers")
    assert fixed.half_pixel_centers is False


def test_a_resolved_mark_needs_a_dialect():
    with pytest.raises(pipeline.ConfigError, match="dialect_resolved: true without"):
        parse(text=MINIMAL + "dialect_resolved: true")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["train_config.fine_tune_checkpoint=a.ckpt"], "classification"),
        (
            [
                "train_config.fine_tune_checkpoint=a.ckpt",
                "train_config.from_detection_checkpoint=true",
            ],
            "detection",
        ),
        (
            [
                "train_config.fine_tune_checkpoint=a.ckpt",
                "train_config.fine_tune_checkpoint_type=full",
            ],
            "full",
        ),
        ([], ""),
    ],
)
def test_the_checkpoint_type_becomes_explicit(overrides, expected):
    assert parse(*overrides).train_config.fine_tune_checkpoint_type == expected


@pytest.mark.parametrize(("only", "stages"), [("true", 1), ("false", 2)])
def test_first_stage_only_becomes_number_of_stages(only, stages):
    config = parse(f"model.faster_rcnn.first_stage_only={only}")
    assert not config.model.faster_rcnn.HasField("first_stage_only")
    assert config.model.faster_rcnn.number_of_stages == stages


def test_numbers_of_the_schema_follow_its_rule():
    """Numbers up to 100 are the Object Detection API's, up to 200 the fork's, then ours."""
    fork_messages = ("MTL", "MaskPredictor", "CocoEvalOptions", "TrainingIgnoreOptions")
    for message_type in proto_messages.reachable_types().values():
        for field in message_type.fields:
            if message_type.GetOptions().map_entry or message_type.name in fork_messages:
                continue
            is_own = field.GetOptions().Extensions[dialect_pb2.own]
            from_fork = dialects.origin(field) == MTL_SSL
            if is_own and field.name != "mtl":
                assert field.number > 200, proto_messages.field_key(field)
            elif from_fork or is_own:
                assert 100 < field.number <= 200, proto_messages.field_key(field)
            else:
                assert field.number <= 100, proto_messages.field_key(field)


def test_every_scalar_default_of_the_schema_is_the_object_detection_apis():
    """The fork's other defaults are written by `resolve`, so the schema must not hold them."""
    fields = {
        proto_messages.field_key(field): field
        for message_type in proto_messages.reachable_types().values()
        for field in message_type.fields
    }
    for key, (odapi, fork) in dialects.DIALECT_DEFAULTS.items():
        assert fields[key].cpp_type != FieldDescriptor.CPPTYPE_MESSAGE
        assert fields[key].default_value == odapi != fork


@pytest.mark.parametrize("dialect", ["ODAPI", "MTL_SSL"])
def test_old_names_of_metrics_are_those_of_today(dialect):
    names = ", ".join([*dialects.OLD_METRICS, "coco_detection_metrics"])
    config = parse(
        f"eval_config.metrics_set=[{names}]", text=f"{MINIMAL} config_dialect: {dialect}"
    )
    assert list(config.eval_config.metrics_set) == list(
        dict.fromkeys(dialects.OLD_METRICS.values())
    )
