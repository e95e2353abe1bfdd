"""Configs to detectors: what is read, and what is refused."""

from __future__ import annotations

import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import (
    anchor_generator_builder,
    backbone_builder,
    image_resizer_builder,
    losses_builder,
    model_builder,
    post_processing_builder,
)
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.fields import Losses, Predictions
from object_detection_mtl.protos import (
    anchor_generator_pb2,
    faster_rcnn_pb2,
    image_resizer_pb2,
    losses_pb2,
    model_pb2,
    post_processing_pb2,
)
from tests.models import tiny


def parse(text: str, message):
    return text_format.Parse(text, message)


def test_every_number_of_the_config_arrives():
    detector = tiny.detector(
        "model.faster_rcnn.first_stage_nms_iou_threshold=0.65",
        "model.faster_rcnn.first_stage_nms_score_threshold=0.02",
        "model.faster_rcnn.first_stage_minibatch_size=99",
        "model.faster_rcnn.first_stage_positive_balance_fraction=0.4",
        "model.faster_rcnn.second_stage_balance_fraction=0.3",
        "model.faster_rcnn.second_stage_classification_loss_weight=1.5",
        "model.faster_rcnn.initial_crop_size=6",
        "model.faster_rcnn.maxpool_kernel_size=2",
        "model.faster_rcnn.maxpool_stride=2",
        is_training=True,
    )
    assert detector.num_classes == 3
    assert detector.proposal_selection.max_proposals == 8
    assert detector.proposal_selection.iou_threshold == pytest.approx(0.65)
    assert detector.proposal_selection.score_threshold == pytest.approx(0.02)
    assert detector.proposal_selection.clip_before_nms
    assert detector.region_proposals.sampling.minibatch_size == 99
    assert detector.region_proposals.sampling.positive_fraction == pytest.approx(0.4)
    assert detector.region_proposals.sampling.localization_sigma == 3.0
    assert detector.proposal_sampling.batch_size == 6
    assert detector.proposal_sampling.positive_fraction == pytest.approx(0.3)
    assert detector.detection_selection.iou_threshold == pytest.approx(0.4)
    assert detector.loss_weights == {
        Losses.rpn_localization: 2.0,
        Losses.rpn_objectness: 1.0,
        Losses.box_localization: 2.0,
        Losses.box_classification: 1.5,
    }
    crops = detector.second_stage.crop(tf.zeros([1, 4, 5, 7]), tf.constant([[[0.0, 0, 1, 1]]]))
    assert crops.shape == (1, 3, 3, 7)


def test_trainable_flags():
    detector = tiny.detector(
        "model.faster_rcnn.first_stage_box_predictor_trainable=false",
        "model.faster_rcnn.second_stage_box_predictor.trainable=false",
        is_training=True,
    )
    assert not detector.region_proposals.trainable_variables
    assert not detector.second_stage.head.predictor.trainable_variables
    assert detector.feature_extractor.trainable_variables


def test_dropout_and_shared_box():
    detector = tiny.detector(
        "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor.use_dropout=true",
        "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor"
        ".dropout_keep_probability=0.8",
        "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor"
        ".share_box_across_classes=true",
        is_training=True,
    )
    predictor = detector.second_stage.head.predictor
    assert predictor.dropout.rate == pytest.approx(0.2)
    assert predictor.num_box_classes == 1


def test_layers_before_the_predictor():
    predictor = "model.faster_rcnn.second_stage_box_predictor.mask_rcnn_box_predictor"
    detector = tiny.detector(
        "model.faster_rcnn.initial_crop_size=9",
        "model.faster_rcnn.maxpool_kernel_size=3",
        "model.faster_rcnn.maxpool_stride=2",
        f"{predictor}.spatial_average=false",
        f"{predictor}.num_layers_before_predictor=2",
        f"{predictor}.max_depth=6",
        is_training=True,
    )
    # A crop of 9 pooled to 4, halved by stage 2.
    head = detector.second_stage.head
    assert head.predictor.spatial_size == (2, 2)
    shapes = [tuple(layer.kernel.shape) for layer in head.predictor.linear_layers]
    assert shapes == [(2 * 2 * 1024, 6), (6, 6), (6, 12), (6, 4)]
    assert len(tf1_detection.name_map(detector)) == len(detector.variables)
    inputs, shapes = detector.preprocess(tiny.images(1))
    predictions = detector.predict(inputs, shapes, tiny.groundtruth([[0.1, 0.1, 0.6, 0.5]]))
    assert predictions[Predictions.class_predictions].shape == (1, 6, 4)


def test_r_fcn():
    predictor = "model.faster_rcnn.second_stage_box_predictor"
    detector = tiny.detector(
        f"{predictor}.trainable=false",
        *(
            f"{predictor}.rfcn_box_predictor.{setting}"
            for setting in (
                "depth=5",
                "num_spatial_bins_height=2",
                "num_spatial_bins_width=4",
                "crop_height=6",
                "crop_width=8",
                "conv_hyperparams.activation=NONE",
                "conv_hyperparams.regularizer.l2_regularizer.weight=0.5",
            )
        ),
        is_training=True,
    )
    built = detector.second_stage.head.predictor
    assert built.num_bins == (2, 4)
    assert built.crop_size == (6, 8)
    assert built.activation is None
    assert built.reduce_depth.filters == 5
    assert built.class_head.filters == 2 * 4 * 4
    assert float(built.box_head.kernel_regularizer.l2) == pytest.approx(0.25)
    assert not built.trainable_variables


def test_other_meta_architectures_are_refused():
    with pytest.raises(ValueError, match="ssd.*not supported"):
        model_builder.build(parse("ssd {}", model_pb2.DetectionModel()), is_training=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("convolutional_box_predictor {}", "convolutional_box_predictor.*not supported"),
        ("rfcn_box_predictor { crop_width: 13 }", "crop_width is 13 .* num_spatial_bins_width"),
        ("mask_rcnn_box_predictor { predict_instance_masks: true }", "predict_instance_masks"),
    ],
)
def test_other_predictors_are_refused(text, words):
    config = tiny.config()
    predictor = config.model.faster_rcnn.second_stage_box_predictor
    predictor.Clear()
    text_format.Parse(text, predictor)
    with pytest.raises(ValueError, match=words):
        model_builder.build(config.model, is_training=False)


def test_backbone_refuses_unknown_types_and_strides():
    def build(text: str):
        return backbone_builder.build(parse(text, faster_rcnn_pb2.FasterRcnnFeatureExtractor()))

    with pytest.raises(ValueError, match="'vgg'.*faster_rcnn_mobilenet_v1"):
        build('type: "vgg"')
    with pytest.raises(ValueError, match="stride is 8"):
        build('type: "faster_rcnn_mobilenet_v1" first_stage_features_stride: 8')


def test_thinner_mobilenet():
    text = """
        type: "faster_rcnn_mobilenet_v1" depth_multiplier: 0.5 min_depth: 24
        conv_depth_ratio_in_percentage: 50 skip_last_stride: true"""
    backbone = backbone_builder.build(parse(text, faster_rcnn_pb2.FasterRcnnFeatureExtractor()))
    assert backbone.stage1.get_layer("Conv2d_0").filters == 24
    stage2 = backbone.make_stage2("stage2")
    assert stage2.compute_output_shape((2, 7, 7, 128)) == (2, 7, 7, 256)


def test_resnet():
    backbone = backbone_builder.build(
        parse(
            """
            type: "faster_rcnn_resnet50" first_stage_features_stride: 8
            freeze_layer: "block2" weight_decay: 0.5""",
            faster_rcnn_pb2.FasterRcnnFeatureExtractor(),
        )
    )
    assert backbone.scope == "resnet_v1_50"
    assert backbone.stage1.get_layer("block3.unit_1.bottleneck_v1.conv2").dilation == 2
    trained = {v.path.split(".")[0] for v in backbone.stage1.trainable_variables}
    assert trained == {"block3"}
    conv1 = backbone.stage1.get_layer("conv1")
    assert float(conv1.kernel_regularizer.l2) == pytest.approx(0.25)


def test_conv_hyperparams_replace_the_networks_own_only_with_the_override_flag(caplog):
    text = """
        type: "faster_rcnn_mobilenet_v1" weight_decay: 0.5
        conv_hyperparams {
          activation: RELU
          regularizer { l2_regularizer { weight: 0.25 } }
          batch_norm { decay: 0.75 epsilon: 0.125 }
        }"""

    def layer(extra: str):
        config = parse(text + extra, faster_rcnn_pb2.FasterRcnnFeatureExtractor())
        return backbone_builder.build(config).stage1.get_layer("Conv2d_0")

    kept = layer("")
    assert (kept.momentum, kept.epsilon) == (0.9997, 1e-3)
    assert float(kept.kernel_regularizer.l2) == pytest.approx(0.25)
    assert "override_base_feature_extractor_hyperparams" in caplog.text
    replaced = layer("override_base_feature_extractor_hyperparams: true")
    assert (replaced.momentum, replaced.epsilon) == (0.75, 0.125)
    assert float(replaced.kernel_regularizer.l2) == pytest.approx(0.125)
    assert replaced.activation is tf.nn.relu


def test_resizers():
    def build(text: str):
        return image_resizer_builder.build(parse(text, image_resizer_pb2.ImageResizer()))

    image = tf.zeros([2, 30, 60, 3])
    resized, shapes = build("fixed_shape_resizer { height: 8 width: 9 }")(image)
    assert resized.shape == (2, 8, 9, 3)
    assert shapes.numpy().tolist() == [[8, 9, 3]] * 2
    resized, shapes = build(
        "keep_aspect_ratio_resizer {"
        " min_dimension: 10 max_dimension: 25 pad_to_max_dimension: true }"
    )(image)
    assert resized.shape == (2, 25, 25, 3)
    assert shapes.numpy().tolist() == [[10, 20, 3]] * 2
    resized, _ = build("identity_resizer {}")(image)
    assert resized.shape == image.shape
    for text in ("", "pad_to_multiple_resizer {}"):
        with pytest.raises(ValueError, match="not supported"):
            build(text)
    with pytest.raises(ValueError, match="convert_to_grayscale"):
        build("fixed_shape_resizer { convert_to_grayscale: true }")


def test_anchor_generators():
    def build(text: str):
        return anchor_generator_builder.build(parse(text, anchor_generator_pb2.AnchorGenerator()))

    grid = build(
        "grid_anchor_generator { height: 64 width: 32 height_stride: 8 width_stride: 4"
        " height_offset: 1 width_offset: 2 scales: [0.5, 1.0] aspect_ratios: 2.0 }"
    )
    assert grid.base_anchor_size == (64.0, 32.0)
    assert grid.stride == (8, 4)
    assert grid.offset == (1.0, 2.0)
    assert grid.num_anchors_per_location == 2
    with pytest.raises(ValueError, match="ssd_anchor_generator"):
        build("ssd_anchor_generator {}")
    with pytest.raises(ValueError, match="at least one"):
        build("grid_anchor_generator { scales: 1.0 }")
    with pytest.raises(ValueError, match="use_hw_scales"):
        build("grid_anchor_generator { scales: 1 aspect_ratios: 1 use_hw_scales: true }")


def test_tf1_rounding_drops_squares_that_touch_the_top():
    text = "grid_anchor_generator { height: 64 width: 64 scales: 1 aspect_ratios: 1 %s }"

    def first(extra: str):
        message = parse(text % extra, anchor_generator_pb2.AnchorGenerator())
        return anchor_generator_builder.build(message).generate(3, 3).numpy()[6]  # center (32, 0)

    assert first("")[0] == 0.0
    assert -1e-5 < first("tf1_rounding: true")[0] < 0.0


def test_post_processing():
    def build(text: str):
        message = parse(text, post_processing_pb2.PostProcessing())
        return post_processing_builder.build(message, clip_before_nms=True)

    selection = build(
        "batch_non_max_suppression { score_threshold: 0.25 iou_threshold: 0.5"
        " max_detections_per_class: 7 max_total_detections: 9 soft_nms_sigma: 0.5 }"
        " score_converter: SOFTMAX logit_scale: 2.0"
    )
    assert selection.score_threshold == 0.25
    assert selection.soft_nms_sigma == 0.5
    assert (selection.max_per_class, selection.max_total) == (7, 9)
    assert selection.clip_before_nms
    scores = selection.score_converter(tf.constant([[0.0, 4.0]])).numpy()
    assert scores[0, 1] == pytest.approx(0.880797)
    assert build("score_converter: SIGMOID").score_converter(tf.constant(0.0)) == 0.5
    assert build("").score_converter(tf.constant(3.0)) == 3.0
    assert not build("").class_agnostic
    selection = build(
        "batch_non_max_suppression { use_class_agnostic_nms: true max_classes_per_detection: 2 }"
    )
    assert selection.class_agnostic
    assert selection.max_classes_per_detection == 2


def test_classification_losses():
    def build(text: str):
        return losses_builder.classification_loss(parse(text, losses_pb2.ClassificationLoss()))

    logits, targets = tf.constant([[[0.0, 4.0]]]), tf.constant([[[1.0, 0.0]]])
    weights = tf.ones([1, 1])
    assert float(build("")(logits, targets, weights)[0, 0]) == pytest.approx(4.01815, rel=1e-5)
    scaled = build("weighted_softmax { logit_scale: 2.0 }")(logits, targets, weights)
    assert float(scaled[0, 0]) == pytest.approx(2.126928, rel=1e-5)
    # Sigmoids of 0 and 4 against 1 and 0: log 2 + log(1 + e^4), summed over the classes.
    sigmoid = build("weighted_sigmoid {}")(logits, targets, weights)
    assert sigmoid.shape == (1, 1)
    assert float(sigmoid[0, 0]) == pytest.approx(0.693147 + 4.018150, rel=1e-5)
    # Times (1 - p of the truth)^2: 0.25 and 0.982014^2; alpha weights positives and negatives.
    focal = build("weighted_sigmoid_focal {}")(logits, targets, weights)
    assert float(focal[0, 0]) == pytest.approx(0.173287 + 3.874911, rel=1e-5)
    focal = build("weighted_sigmoid_focal { alpha: 0.75 gamma: 0 }")(logits, targets, weights)
    assert float(focal[0, 0]) == pytest.approx(0.75 * 0.693147 + 0.25 * 4.018150, rel=1e-5)
    assert float(build("weighted_sigmoid {}")(logits, targets, 0 * weights)[0, 0]) == 0.0
    with pytest.raises(ValueError, match="bootstrapped.*use weighted_softmax, weighted_sigmoid"):
        build("bootstrapped_sigmoid { alpha: 0.5 }")
