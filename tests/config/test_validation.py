"""Validation errors of configurations."""

import pytest

from object_detection_mtl.config import field_rules, pipeline, proto_messages, validation
from tests.config.sources import DATA, MINIMAL, parse

MODEL = "model.faster_rcnn"
GRID = f"{MODEL}.first_stage_anchor_generator.grid_anchor_generator"
NMS = f"{MODEL}.second_stage_post_processing.batch_non_max_suppression"
RATE = "train_config.optimizer.momentum_optimizer.learning_rate"


def check(*overrides, text=MINIMAL):
    """Return the minimal configuration with overrides, checked for training and evaluation."""
    config = parse(*overrides, text=text)
    validation.require_training(config)
    validation.require_evaluation(config)
    return config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"{MODEL}.num_classes=0", "num_classes = 0: must be at least 1"),
        (f"{MODEL}.number_of_stages=3", "number_of_stages = 3: must be 1 .proposals only. or 2"),
        (
            f"{MODEL}.second_stage_batch_size=301",
            "second_stage_batch_size = 301: must be at most first_stage_max_proposals = 300",
        ),
        ("train_config.num_micro_batches=0", "num_micro_batches = 0: must be at least 1"),
        ("train_config.num_micro_batches=3", "num_micro_batches = 3: must divide batch_size = "),
        (f"{MODEL}.first_stage_max_proposals=32", "second_stage_batch_size = 64: must be at most"),
        (f"{MODEL}.first_stage_nms_iou_threshold=1.5", r"= 1\.5: must be in \[0, 1\]"),
        (f"{MODEL}.first_stage_nms_iou_threshold=nan", r"= nan: must be in \[0, 1\]"),
        (f"{MODEL}.first_stage_nms_score_threshold=-1", r"= -1\.0: must be in \[0, 1\]"),
        (f"{MODEL}.first_stage_positive_balance_fraction=2", r"= 2\.0: must be in \[0, 1\]"),
        (f"{MODEL}.second_stage_balance_fraction=-0.5", r"= -0\.5: must be in \[0, 1\]"),
        (f"{MODEL}.second_stage_localization_loss_weight=-1", "must be at least 0"),
        (f"{MODEL}.first_stage_box_predictor_depth=0", "must be at least 1"),
        (f"{MODEL}.initial_crop_size=0", "must be at least 1"),
        (f"{MODEL}.maxpool_kernel_size=8", "must be at most initial_crop_size = 7"),
        (f"{MODEL}.feature_extractor.first_stage_features_stride=4", "must be one of 8, 16"),
        (
            f"{MODEL}.feature_extractor.first_stage_features_stride=8",
            "stride = 8: must be 16 with type faster_rcnn_mobilenet_v1",
        ),
        (
            f"{MODEL}.feature_extractor.freeze_layer=conv1x",
            'freeze_layer = \'conv1x\': must be empty, or "block1" ... "block4"',
        ),
        (
            f"{MODEL}.feature_extractor.conv_depth_ratio_in_percentage=30",
            "must be one of 25, 50, 75, 100",
        ),
        (
            f"{MODEL}.feature_extractor.type=faster_rcnn_mobilenet",
            'did you mean "faster_rcnn_mobilenet_v1"',
        ),
        (
            f"{MODEL}.feature_extractor.type=frcnn_mobilenet_v1",
            'did you mean "faster_rcnn_mobilenet_v1"',
        ),
        (f"{MODEL}.feature_extractor.type=faster_rcnn_nas", "NASNet is not supported; allowed: "),
        (
            f"{MODEL}.feature_extractor.type=faster_rcnn_resnet50_fpn_keras",
            "feature pyramids are not supported",
        ),
        (f"{MODEL}.feature_extractor.type=resnet", "must be one of faster_rcnn_efficientnet"),
        (f"{MODEL}.feature_extractor.type=", "type: is missing; allowed: faster_rcnn"),
        (
            f"{MODEL}.image_resizer.keep_aspect_ratio_resizer.min_dimension=2000",
            "min_dimension = 2000: must be at most max_dimension = 1024",
        ),
        (
            f"{MODEL}.image_resizer.fixed_shape_resizer.width=0",
            "fixed_shape_resizer.width = 0: must be at least 1",
        ),
        (f"{GRID}.scales=[]", "scales: at least one is needed"),
        (f"{GRID}.aspect_ratios=[1, -1]", r"= \[1\.0, -1\.0\]: must be greater than 0 each"),
        (f"{GRID}.height_stride=0", "height_stride = 0: must be at least 1"),
        (
            f"{MODEL}.first_stage_anchor_generator.multiscale_anchor_generator={{}}",
            "multiscale_anchor_generator is not supported; two-stage detectors use grid",
        ),
        (
            f"{MODEL}.second_stage_box_predictor.convolutional_box_predictor={{}}",
            "convolutional_box_predictor is not supported; must be mask_rcnn_box_predictor or",
        ),
        (f"{MODEL}.second_stage_box_predictor={{}}", "is empty; must be"),
        (
            f"{MODEL}.second_stage_box_predictor.mask_rcnn_box_predictor."
            "predict_instance_masks=true",
            "must be false: masks are not supported",
        ),
        (
            f"{MODEL}.second_stage_box_predictor.rfcn_box_predictor.crop_height=10",
            "crop_height = 10: must be a multiple of num_spatial_bins_height = 3",
        ),
        (
            f"{MODEL}.second_stage_box_predictor.mask_rcnn_box_predictor."
            "num_layers_before_predictor=1",
            "max_depth: is missing; set the number of units",
        ),
        (f"{NMS}.iou_threshold=2", r"must be in \[0, 1\]"),
        (
            f"{NMS}.max_detections_per_class=200",
            "max_detections_per_class = 200: must be at most max_total_detections = 100",
        ),
        ("train_config.batch_size=0", "batch_size = 0: must be at least 1"),
        ("train_config.gradient_clipping_by_norm=-1", "must be at least 0"),
        (
            "train_config.fine_tune_checkpoint_type=all",
            'one of "", classification, detection, full',
        ),
        (
            "train_config.optimizer.momentum_optimizer.momentum_optimizer_value=1",
            r"must be in \[0, 1\)",
        ),
        (f"{RATE}={{}}", "learning_rate: is missing; set a schedule"),
        (
            f"{RATE}={{manual_step_learning_rate {{schedule {{step: 5}} schedule {{step: 5}}}}}}",
            r"steps must increase, got \[5, 5\]",
        ),
        (
            f"{RATE}={{manual_step_learning_rate {{warmup: true}}}}",
            "needs at least one schedule entry",
        ),
        (
            f"{RATE}={{cosine_decay_learning_rate {{total_steps: 10 warmup_steps: 20}}}}",
            "total_steps = 10: must be at least warmup_steps [+] hold_base_rate_steps = 20",
        ),
        (
            f"{RATE}={{cosine_decay_learning_rate {{warmup_learning_rate: 1}}}}",
            "warmup_learning_rate = 1: must be at most learning_rate_base = 0.002",
        ),
        (
            f"{RATE}={{exponential_decay_learning_rate {{decay_factor: 0}}}}",
            "decay_factor = 0.0: must be greater than 0 and at most 1",
        ),
        ("train_config.data_augmentation_options={}", r"options\[0\]: is empty"),
        ("eval_config.metrics_set=coco_detection", 'did you mean "coco_detection_metrics"'),
        ("eval_config.metrics_set=[coco_detection_metrics, x]", r'metrics_set\[1\] = "x"'),
        ("eval_input_reader.sample_1_of_n_examples=0", r"eval_input_reader\[0\]\.sample_1_of_n"),
        ("model.mtl.shared_feature=none", "one of proposal_feature_maps, classifier_feature_maps"),
        ("model.mtl.refine_dropout_rate=0", "greater than 0 and at most 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(override, message):
    with pytest.raises(pipeline.ConfigError, match=message):
        check(override)


@pytest.mark.parametrize(
    ("override", "needed"),
    [
        (f"{MODEL}.second_stage_batch_size=301", validation.require_training),
        ("train_config.fine_tune_checkpoint_type=all", validation.require_training),
        ("train_config.merge_multiple_label_boxes=true", validation.require_training),
        ("train_input_reader.input_type=TF_SEQUENCE_EXAMPLE", validation.require_training),
        ("eval_config.metrics_set=coco_mask_metrics", validation.require_evaluation),
        ("eval_input_reader.expand_labels_hierarchy=true", validation.require_evaluation),
    ],
)
def test_a_job_is_refused_for_fields_that_it_reads(override, needed):
    config = parse(override)
    others = {validation.require_training, validation.require_evaluation} - {needed}
    for other in others:
        other(config)
    with pytest.raises(pipeline.ConfigError, match=override.split("=")[0].split(".")[-1]):
        needed(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            f"{MODEL}.context_config={{num_attention_heads: 2}}",
            "context_config: must be absent: Context R-CNN is unsupported",
        ),
        ("graph_rewriter.quantization.weight_bits=8", "quantization is unsupported"),
        (
            f"{MODEL}.second_stage_post_processing.calibration_config.function_approximation={{}}",
            "calibration_config: must be absent: scores are not calibrated",
        ),
        ("train_input_reader.input_type=TF_SEQUENCE_EXAMPLE", "must be TF_EXAMPLE"),
        ("train_config.merge_multiple_label_boxes=true", "must be false: every box has one class"),
        ("train_input_reader.num_additional_channels=1", "must be 0: images have three channels"),
        ("eval_config.metrics_set=oid_challenge_segmentation_metrics", "needs masks"),
    ],
)
def test_what_would_change_the_model_without_a_word_is_an_error(override, message):
    with pytest.raises(pipeline.ConfigError, match=message):
        check(override)


def test_empty_messages_change_nothing():
    parse(f"{MODEL}.context_config={{}}", "graph_rewriter={quantization {}}")


def test_a_crop_too_small_for_stage_2():
    small = (
        f"{MODEL}.initial_crop_size=5",
        f"{MODEL}.maxpool_kernel_size=2",
        f"{MODEL}.maxpool_stride=2",
    )
    parse(*small)  # 2x2 are enough for MobileNet.
    backbone = f"{MODEL}.feature_extractor.type=faster_rcnn_inception_resnet_v2"
    message = "initial_crop_size = 5: .*reduces crops to 2x2; stage 2 of .* needs at least 3x3"
    with pytest.raises(pipeline.ConfigError, match=message):
        parse(backbone, *small)
    parse(backbone, f"{MODEL}.initial_crop_size=6", *small[1:])


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("num_classes: 3", "num_classes: is missing"),
        ("image_resizer { keep_aspect_ratio_resizer {} }", "image_resizer: is missing"),
        ("initial_crop_size: 7", "initial_crop_size: is missing"),
        ("maxpool_stride: 1", "maxpool_stride: is missing"),
        ("second_stage_box_predictor { mask_rcnn_box_predictor {} }", "predictor: is missing"),
        ('feature_extractor { type: "faster_rcnn_mobilenet_v1" }', "type: is missing"),
    ],
)
def test_required_fields(absent, message):
    assert absent in MINIMAL
    with pytest.raises(pipeline.ConfigError, match=message):
        parse(text=MINIMAL.replace(absent, ""))


def test_r_fcn_needs_no_crop_sizes():
    text = MINIMAL.replace("mask_rcnn_box_predictor", "rfcn_box_predictor")
    for line in ("initial_crop_size: 7", "maxpool_kernel_size: 1", "maxpool_stride: 1"):
        text = text.replace(line, "")
    assert parse(text=text).model.faster_rcnn.second_stage_box_predictor.HasField(
        "rfcn_box_predictor"
    )


def test_all_problems_are_reported_at_once():
    with pytest.raises(pipeline.ConfigError) as error:
        parse(f"{MODEL}.num_classes=0", f"{MODEL}.initial_crop_size=0")
    assert str(error.value).count("\n  ") == 2
    config = parse("train_config.batch_size=0", "train_config.gradient_clipping_by_norm=-1")
    assert len(validation.find_training_problems(config)) == 2


@pytest.mark.parametrize(
    "override",
    [
        f"{MODEL}.second_stage_batch_size=300",
        f"{MODEL}.first_stage_nms_iou_threshold=0",
        f"{MODEL}.first_stage_nms_iou_threshold=1",
        f"{MODEL}.image_resizer.keep_aspect_ratio_resizer.min_dimension=1024",
        f"{MODEL}.maxpool_kernel_size=7",
        f"{NMS}.max_total_detections=100",
        f"{RATE}={{manual_step_learning_rate {{schedule {{step: 0}} schedule {{step: 5}}}}}}",
    ],
)
def test_values_at_the_edge_are_allowed(override):
    check(override)


def test_every_rule_concerns_a_field():
    keys = {
        proto_messages.field_key(field)
        for message_type in proto_messages.reachable_types().values()
        for field in message_type.fields
    }
    assert set(field_rules.RULES) <= keys


def test_the_schemas_own_defaults_obey_the_rules():
    """Fields whose default is 0 are required fields."""
    no_default = {
        "FasterRcnn.num_classes",
        "FasterRcnn.initial_crop_size",
        "FasterRcnn.maxpool_kernel_size",
        "FasterRcnn.maxpool_stride",
    }
    for message_type in proto_messages.reachable_types().values():
        for field in message_type.fields:
            key = proto_messages.field_key(field)
            rule = field_rules.RULES.get(key)
            if rule is None or field.is_repeated or key in no_default:
                continue
            assert rule.holds(field.default_value), key


def test_training_needs_optimizer_and_records():
    config = parse(text=MINIMAL)
    validation.require_training(config)
    config.ClearField("train_config")
    config.train_input_reader.ClearField("tf_record_input_reader")
    with pytest.raises(pipeline.ConfigError) as error:
        validation.require_training(config)
    for words in ("train_config: is missing", "optimizer: is missing", "input_path: is missing"):
        assert words in str(error.value)


def test_evaluation_needs_records():
    config = parse()
    validation.require_evaluation(config)
    config.eval_input_reader[0].external_input_reader.SetInParent()
    with pytest.raises(pipeline.ConfigError, match="external_input_reader: is not supported"):
        validation.require_evaluation(config)
    del config.eval_input_reader[:]
    with pytest.raises(pipeline.ConfigError, match="eval_input_reader: is missing"):
        validation.require_evaluation(config)


def test_placeholders_of_sample_configurations_are_found():
    config = pipeline.load(DATA / "odapi_tf1_faster_rcnn.config")
    with pytest.raises(pipeline.ConfigError, match="placeholder") as error:
        validation.require_training(config)
    for path in (
        "train_config.fine_tune_checkpoint",
        "train_input_reader.label_map_path",
        "train_input_reader.tf_record_input_reader.input_path",
    ):
        assert path in str(error.value)
    with pytest.raises(pipeline.ConfigError, match="eval_input_reader.label_map_path"):
        validation.require_evaluation(config)
