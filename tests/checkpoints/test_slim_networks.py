"""Classifiers of TF-Slim in real checkpoint files: the features they give in a detector."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.backbones import inception_resnet_v2, resnet_v1
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.config import pipeline, samples
from tests.checkpoints.tf1_files import write_tf1
from tests.checkpoints.tf_slim_networks import run_inception_v2, run_resnet_v1
from tests.golden.weight_rule import make_weight


def detector_of(backbone: str, *overrides: str):
    """Return a detector with a backbone of this type."""
    extractor = "model.faster_rcnn.feature_extractor"
    config = str(samples.path("faster_rcnn_resnet101_voc07.config"))
    changes = [f"{extractor}.type={backbone}", *(f"{extractor}.{text}" for text in overrides)]
    model = pipeline.load(config, overrides=["config_dialect=ODAPI", *changes]).model
    return model_builder.build(model, is_training=False)


def assert_equal(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("num_layers", "units"),
    [
        pytest.param(50, 16, marks=pytest.mark.slow),
        pytest.param(101, 33, marks=pytest.mark.long),
    ],
)
def test_resnet(tmp_path, num_layers, units):
    """The features of `tf_slim.nets.resnet_v1`, from the file that its Saver writes."""
    name = f"resnet_v1_{num_layers}"
    pixels = np.random.RandomState(0).uniform(-120, 130, (1, 65, 97, 3)).astype(np.float32)
    points = run_resnet_v1(num_layers, pixels, (None, 8, 16), tmp_path / "resnet.ckpt")
    detector = detector_of(f"faster_rcnn_resnet{num_layers}")
    report = restore(detector, tmp_path / "resnet.ckpt", verbose=False)
    assert len(report.loaded) == 5 * (1 + 3 * units + 4)
    assert not report.missing
    assert report.unused == (f"{name}/logits/biases", f"{name}/logits/weights")
    stage1 = detector.backbone.stage1
    assert_equal(stage1(pixels), points[16][f"{name}/block3"])
    stride8 = resnet_v1.build(num_layers=num_layers, output_stride=8).stage1
    for ours, trained in zip(stride8.variables, stage1.variables, strict=True):
        ours.assign(trained)
    assert_equal(stride8(pixels), points[8][f"{name}/block3"])
    # Nothing dilates the classifier's own block4.
    stage2 = detector.second_stage.head.stage2
    assert_equal(stage2(points[None][f"{name}/block3"]), points[None][f"{name}/block4"])


PIXELS = np.random.RandomState(0).uniform(-1, 1, (1, 97, 129, 3)).astype(np.float32)
# Variables of the two stages: convolutions, and one more kernel of the separable one.
INCEPTION_V2_CONVOLUTIONS = 50 + 19


def read_variables(prefix):
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "overrides"),
    [
        ({}, ()),
        (
            {"depth_multiplier": 0.5, "min_depth": 24},
            ("depth_multiplier=0.5", "min_depth=24"),
        ),
    ],
)
def test_inception_v2(tmp_path, options, overrides):
    """The features of `tf_slim.nets.inception_v2`, from the file that its Saver writes."""
    points = run_inception_v2(PIXELS, tmp_path / "inception.ckpt", **options)
    detector = detector_of("faster_rcnn_inception_v2", *overrides)
    report = restore(detector, tmp_path / "inception.ckpt", verbose=False)
    assert len(report.loaded) == 5 * INCEPTION_V2_CONVOLUTIONS + 1
    assert not report.missing
    logits = "InceptionV2/Logits/Conv2d_1c_1x1"
    assert report.unused == (f"{logits}/biases", f"{logits}/weights")
    stage1 = detector.backbone.stage1
    assert_equal(stage1(PIXELS), points["Mixed_4e"])
    stage2 = detector.second_stage.head.stage2
    assert_equal(stage2(points["Mixed_4e"]), points["Mixed_5c"])
    # The classifier has no gamma: it is 1.
    gamma = stage1.get_layer("Mixed_3b.Branch_0.Conv2d_0a_1x1").gamma
    np.testing.assert_array_equal(gamma, np.ones(gamma.shape))


@pytest.mark.slow
def test_inception_v2_with_stride_8_has_the_features_of_stride_16_at_every_second_cell(tmp_path):
    points = run_inception_v2(PIXELS, tmp_path / "inception.ckpt")
    detector = detector_of("faster_rcnn_inception_v2", "first_stage_features_stride=8")
    restore(detector, tmp_path / "inception.ckpt", verbose=False)
    features = detector.backbone.stage1(PIXELS)
    assert features.shape == (1, 13, 17, 576)
    assert_equal(features[:, ::2, ::2], points["Mixed_4e"])


# Layers of the heads as the OD API's graphs of TensorFlow 1 name them.
OD_API_HEADS = {
    "Conv": lambda detector: detector.region_proposals.conv,
    "FirstStageBoxPredictor/BoxEncodingPredictor": lambda d: d.region_proposals.box_head,
    "FirstStageBoxPredictor/ClassPredictor": lambda d: d.region_proposals.class_head,
    "SecondStageBoxPredictor/BoxEncodingPredictor": lambda d: layer_of(d, "BoxEncodingPredictor"),
    "SecondStageBoxPredictor/ClassPredictor": lambda d: layer_of(d, "ClassPredictor"),
}


def layer_of(detector, name):
    """Return a layer of the second stage's predictor."""
    layers = detector.second_stage.head.predictor.linear_layers
    return next(layer for layer in layers if layer.name == name)


@pytest.mark.slow
def test_inception_v2_from_a_detector_of_tensorflow_1(tmp_path):
    """Its network has a gamma, and a batch norm after the first convolution."""
    points = run_inception_v2(PIXELS, tmp_path / "inception.ckpt", as_in_detectors=True)
    features = {}
    for name, value in read_variables(tmp_path / "inception.ckpt").items():
        if "/Logits/" not in name:
            part = "Second" if "/Mixed_5" in name else "First"
            features[f"{part}StageFeatureExtractor/{name}"] = value
    detector = detector_of("faster_rcnn_inception_v2")
    heads = {}
    for name, layer in OD_API_HEADS.items():
        for kind, variable in (
            ("weights", layer(detector).kernel),
            ("biases", layer(detector).bias),
        ):
            heads[f"{name}/{kind}"] = make_weight(f"{name}/{kind}", tuple(variable.shape))
    of_training = {"global_step": np.int64(7), "Conv/weights/Momentum": np.zeros(2, np.float32)}
    file = write_tf1(tmp_path / "model.ckpt", features | heads | of_training)
    report = restore(detector, file, checkpoint_type="full", verbose=False)
    assert report.source == "TF1 detection checkpoint with InceptionV2"
    assert not report.missing
    assert not report.unused
    assert len(features) == 5 * INCEPTION_V2_CONVOLUTIONS + 1
    assert len(report.loaded) == len(features) + len(heads) == len(detector.variables)
    assert_equal(detector.backbone.stage1(PIXELS), points["Mixed_4e"])
    stage2 = detector.second_stage.head.stage2
    assert_equal(stage2(points["Mixed_4e"]), points["Mixed_5c"])
    for name, layer in OD_API_HEADS.items():
        np.testing.assert_array_equal(layer(detector).kernel, heads[f"{name}/weights"])
        np.testing.assert_array_equal(layer(detector).bias, heads[f"{name}/biases"])
    partial = restore(detector, file, checkpoint_type="detection", verbose=False)
    assert len(partial.loaded) == len(features)
    assert set(partial.unused) == set(heads)


@pytest.mark.slow
def test_inception_resnet_v2(tmp_path):
    """Every variable of both stages has its name in the classifier's file."""
    backbone = inception_resnet_v2.build()
    stages = (backbone.stage1, backbone.make_stage2("stage2"))
    shapes = {
        name: tuple(variable.shape)
        for stage in stages
        for name, variable in checkpoint_names(stage, "InceptionResnetV2").items()
    }
    head = {"InceptionResnetV2/Logits/Logits/biases": (10,), "global_step": ()}
    file = write_tf1(
        tmp_path / "inception_resnet_v2.ckpt",
        {name: make_weight(name, shape) for name, shape in (shapes | head).items()},
    )
    detector = detector_of("faster_rcnn_inception_resnet_v2")
    report = restore(detector, file, verbose=False)
    assert len(report.loaded) == len(shapes) == 4 * (156 + 48) + 2 * (30 + 10)
    assert not report.missing
    assert set(report.unused) == set(head)
    for name, variable in tf1_detection.name_map(detector).items():
        if "FeatureExtractor/" in name:
            slim_name = name.split("/", 1)[1]
            np.testing.assert_array_equal(variable, make_weight(slim_name, shapes[slim_name]))


def test_another_depth_is_refused(tmp_path):
    file = write_tf1(tmp_path / "resnet.ckpt", {"resnet_v1_101/conv1/weights": np.zeros(1)})
    detector = detector_of("faster_rcnn_resnet50")
    with pytest.raises(ValueError, match="another architecture, resnet_v1_101.*resnet_v1_50"):
        restore(detector, file)
