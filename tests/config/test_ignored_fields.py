"""The list of ignored fields matches the fields that the code reads."""

import re
from pathlib import Path

import pytest

import object_detection_mtl
from object_detection_mtl.config import ignored_fields, proto_messages
from object_detection_mtl.protos import pipeline_pb2
from tests.config.sources import parse

PACKAGE = Path(object_detection_mtl.__file__).parent
# The only modules beside config/ that read a configuration.
READERS = [*sorted((PACKAGE / "builders").glob("*.py")), PACKAGE / "jobs.py"]

# Attributes of other objects with the name of a field.
HOMONYMS = {"input_type", "train", "num_examples"}  # the exporter's, the job's, the input's
# Read to refuse a configuration, without being named.
REFUSED = {
    "DetectionModel.ssd",
    "DetectionModel.center_net",
    "DetectionModel.experimental_model",
    # By field_rules.
    "GraphRewriter.quantization",
    "FasterRcnn.context_config",
    "PostProcessing.calibration_config",
    # By augmentation_builder, with a reason.
    "PreprocessingStep.normalize_image",
    "PreprocessingStep.subtract_channel_mean",
    "PreprocessingStep.convert_class_logits_to_softmax",
}


def all_fields():
    return {
        proto_messages.field_key(field): field
        for message_type in proto_messages.reachable_types().values()
        for field in message_type.fields
    }


def supported_fields():
    """Return the fields of usable configurations that are not listed as ignored."""
    found, waiting = {}, [pipeline_pb2.TrainEvalPipelineConfig.DESCRIPTOR]
    seen = set()
    while waiting:
        message_type = waiting.pop()
        if message_type.full_name in seen:
            continue
        seen.add(message_type.full_name)
        for field in message_type.fields:
            key = proto_messages.field_key(field)
            if key in ignored_fields.IGNORED_FIELDS or key in REFUSED:
                continue
            # Builders refuse unsupported members of a oneof.
            if field.containing_oneof and not reads(field.name):
                continue
            found[key] = field
            if field.message_type and not proto_messages.is_map(field):
                waiting.append(field.message_type)
    return found


def names_in(path):
    """Return the attributes that a file uses, and strings that could name one."""
    return set(re.findall(r"(?:\.|\")(\w+)", path.read_text()))


JOBS = set(re.findall(r"^def (\w+)", (PACKAGE / "jobs.py").read_text(), re.MULTILINE))
NAMES = set().union(*(names_in(path) for path in READERS))
CONFIG_NAMES = set().union(
    *(
        names_in(PACKAGE / "config" / name)
        for name in ("dialects.py", "validation.py", "field_rules.py")
    )
)


def reads(name):
    return name in NAMES


def test_ignored_fields_exist_in_the_schema():
    assert set(ignored_fields.IGNORED_FIELDS) <= set(all_fields())


def test_no_ignored_field_is_read():
    """Search by name, where the name belongs to one message only."""
    fields = all_fields()
    names = [field.name for field in fields.values()]
    attributes = set()
    for path in READERS:
        attributes |= set(re.findall(r"\.(\w+)", path.read_text()))
    for key in ignored_fields.IGNORED_FIELDS:
        name = fields[key].name
        if names.count(name) == 1 and name not in HOMONYMS:
            assert name not in attributes, key


@pytest.mark.skipif(
    not {"train", "evaluate"} <= JOBS, reason="jobs.py does not train or evaluate yet"
)
def test_every_other_field_is_read():
    missing = [
        key
        for key, field in supported_fields().items()
        if not reads(field.name)
        and field.name not in CONFIG_NAMES
        and not proto_messages.is_map(field)
    ]
    assert not missing, (
        "neither read by a builder or jobs.py nor listed in config/ignored_fields.py"
    )


def test_harmless_values_are_not_reported():
    config = parse()
    config.train_config.sync_replicas = True
    config.train_config.replicas_to_aggregate = 1
    config.eval_config.save_graph = False
    reported = ignored_fields.find_ignored_fields(config)
    assert "train_config.sync_replicas" not in reported
    assert "train_config.replicas_to_aggregate" not in reported
    assert "eval_config.save_graph" not in reported
    config.train_config.replicas_to_aggregate = 8
    assert "train_config.replicas_to_aggregate" in ignored_fields.find_ignored_fields(config)


@pytest.mark.parametrize(
    ("backbone", "reported"),
    [
        ("faster_rcnn_resnet101", False),
        ("faster_rcnn_inception_resnet_v2", True),
        ("faster_rcnn_mobilenet_v1", True),
    ],
)
def test_freeze_layer_applies_to_resnet_only(backbone, reported):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    extractor = config.model.faster_rcnn.feature_extractor
    extractor.type, extractor.freeze_layer = backbone, "block2"
    path = "model.faster_rcnn.feature_extractor.freeze_layer"
    assert (path in ignored_fields.find_ignored_fields(config)) is reported


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("mask_rcnn_box_predictor {} } initial_crop_size: 7 hard_example_miner {", ""),
        (
            "rfcn_box_predictor {} } initial_crop_size: 7 maxpool_stride: 1 image_resizer {",
            "initial_crop_size maxpool_stride",
        ),
        ("mask_rcnn_box_predictor {} } second_stage_batch_size: 9 image_resizer {", ""),
        (
            "mask_rcnn_box_predictor {} } second_stage_batch_size: 9 hard_example_miner {",
            "second_stage_batch_size",
        ),
    ],
)
def test_fields_that_depend_on_the_rest_of_the_detector(text, reported):
    config = pipeline_pb2.TrainEvalPipelineConfig()
    text = f"model {{ faster_rcnn {{ second_stage_box_predictor {{ {text} }} }} }}"
    proto_messages.parse_text(text, config, "<test>")
    assert [
        path.rpartition(".")[2] for path in ignored_fields.find_ignored_fields(config)
    ] == reported.split()


def test_fields_that_depend_on_the_kind_of_suppression():
    config = pipeline_pb2.TrainEvalPipelineConfig()
    post_processing = config.model.faster_rcnn.second_stage_post_processing
    nms = post_processing.batch_non_max_suppression
    nms.max_detections_per_class, nms.max_classes_per_detection = 9, 2
    assert [path.rpartition(".")[2] for path in ignored_fields.find_ignored_fields(config)] == [
        "max_classes_per_detection"
    ]
    nms.use_class_agnostic_nms = True
    assert [path.rpartition(".")[2] for path in ignored_fields.find_ignored_fields(config)] == [
        "max_detections_per_class"
    ]


def test_the_contents_of_an_ignored_message_are_not_examined():
    config = pipeline_pb2.TrainEvalPipelineConfig()
    config.eval_config.parameterized_metric.add().coco_keypoint_metrics.class_label = "person"
    assert list(ignored_fields.find_ignored_fields(config)) == [
        "eval_config.parameterized_metric[0]"
    ]


def test_fields_that_change_no_result_are_counted(caplog):
    config = parse()
    config.train_config.startup_delay_steps = 5
    config.train_config.batch_queue_capacity = 7
    config.eval_config.num_examples = 8
    with caplog.at_level("DEBUG"):
        ignored_fields.warn_about_ignored_fields(config, "a.config")
    first, second, third = [record.getMessage() for record in caplog.records]
    assert "eval_config.num_examples (all examples are evaluated" in first
    assert "startup_delay_steps" not in first
    assert re.search(
        r"a.config: \d ignored fields change no result, such as train_config\.", second
    )
    assert "train_config.startup_delay_steps (TensorFlow 1" in third


@pytest.mark.parametrize(
    ("switch", "name", "value"),
    [
        ("edgemask", "edgemask_balance", 1),
        ("edgemask", "edgemask_tanh", False),
        ("edgemask", "edgemask_loss_grid", 1),
        ("window", "window_source", 1),
        ("refine", "refine_standardize_inputs", True),
        ("refine", "refine_learning_rate_multiplier", 2.0),
        ("refine", "refine_main_logits_dropout", 0.5),
    ],
)
def test_forms_of_a_task_apply_with_the_task_only(switch, name, value):
    config = parse()
    for field in ("window", "closeness", "edgemask", "refine"):
        setattr(config.model.mtl, field, False)
    setattr(config.model.mtl, name, value)
    reason = ignored_fields.find_ignored_fields(config)[f"model.mtl.{name}"]
    assert reason == f"applies with {switch}: true only"
    setattr(config.model.mtl, switch, True)
    assert f"model.mtl.{name}" not in ignored_fields.find_ignored_fields(config)
    setattr(config.model.mtl, switch, False)
    default = config.model.mtl.DESCRIPTOR.fields_by_name[name].default_value
    setattr(config.model.mtl, name, default)
    assert f"model.mtl.{name}" not in ignored_fields.find_ignored_fields(config)


def test_balance_of_the_losses_applies_with_a_task_only():
    config = parse()
    for field in ("window", "closeness", "edgemask", "refine"):
        setattr(config.model.mtl, field, False)
    config.model.mtl.loss_balance = 1
    reason = ignored_fields.find_ignored_fields(config)["model.mtl.loss_balance"]
    assert reason == "applies with an auxiliary task only"
    config.model.mtl.edgemask = True
    assert "model.mtl.loss_balance" not in ignored_fields.find_ignored_fields(config)
