"""A backbone of another program: from its registration to a forward pass; mistakes are named."""

import dataclasses
import functools

import keras
import pytest
import tensorflow as tf

import object_detection_mtl as odm
from object_detection_mtl.backbones import registry
from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm
from object_detection_mtl.builders import backbone_builder, model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.cli import check_config
from object_detection_mtl.config import pipeline
from object_detection_mtl.config.errors import ConfigError
from object_detection_mtl.fields import Detections, Predictions
from object_detection_mtl.protos import faster_rcnn_pb2
from tests import command_line
from tests.models import tiny

CHANNELS = 16


def convolutions(name, channels, widths, padding="SAME"):
    inputs = keras.Input((None, None, channels))
    features = inputs
    for number, width in enumerate(widths, start=1):
        layer = ConvBatchNorm(width, 3, strides=2, padding=padding, name=f"conv{number}")
        features = layer(features)
    return keras.Model(inputs, features, name=name)


def normalize(images):
    return images / 127.5 - 1.0


def make_backbone(**members):
    given = {
        "scope": "TinyNet",
        "stage1": convolutions("TinyNet_stage1", 3, (4, 8, 8, CHANNELS)),
        "make_stage2": lambda name: convolutions(name, CHANNELS, (24,)),
        "normalize": normalize,
    }
    return Backbone(**{**given, **members})


def build(*, output_stride, regularizer, batch_norm_trainable, trainable, layer_options, **members):
    return make_backbone(**members)


@pytest.fixture(autouse=True)
def registered():
    package = dict(registry.BACKBONES)
    odm.register_backbone("tiny_net", build)
    yield
    registry.BACKBONES.clear()
    registry.BACKBONES.update(package)


@pytest.fixture
def config_text():
    text = pipeline.to_text(tiny.config("model.mtl.closeness=true", "model.mtl.refine=true"))
    assert text.count('type: "faster_rcnn_mobilenet_v1"') == 1
    return text.replace('type: "faster_rcnn_mobilenet_v1"', 'type: "tiny_net"')


def test_a_config_selects_it(config_text):
    config = pipeline.parse(config_text)
    detector = model_builder.build(config.model, is_training=False)
    images, shapes = detector.preprocess(tiny.images(1))
    predictions = detector.predict(images, shapes)
    found = detector.postprocess(predictions, shapes)
    assert predictions[Predictions.closeness].shape[-1] == 3 + 1
    assert found[Detections.boxes].shape == (1, 300, 4)
    names = tf1_detection.name_map(detector)
    assert "FirstStageFeatureExtractor/TinyNet/conv1/BatchNorm/gamma" in names
    assert "SecondStageFeatureExtractor/TinyNet/conv1/weights" in names
    assert "ClosenessBoxPredictor/TinyNet/conv1/weights" in names
    assert len(names) == len(detector.weights)


def test_check_config_accepts_it(config_text, tmp_path):
    path = tmp_path / "pipeline.config"
    path.write_text(config_text)
    done = command_line.run(check_config, str(path), "--noestimate")
    assert "tiny_net" not in done.out + done.err
    path.write_text(config_text.replace("tiny_net", "tiny_ned"))
    done = command_line.run(check_config, str(path), "--noestimate")
    assert 'did you mean "tiny_net"' in done.out + done.err


def test_its_name_is_a_type_of_detector():
    detector = odm.build_detector("tiny_net", num_classes=2)
    assert detector.config.model.faster_rcnn.feature_extractor.type == "tiny_net"
    assert detector.model.backbone.scope == "TinyNet"


def test_strides_and_crops_of_a_config_are_checked(config_text):
    stride = ["model.faster_rcnn.feature_extractor.first_stage_features_stride=8"]
    with pytest.raises(ConfigError, match="must be 16 with type tiny_net"):
        pipeline.parse(config_text, stride)
    odm.register_backbone("tiny_net", build, smallest_crop=9)
    with pytest.raises(ConfigError, match="stage 2 of tiny_net needs at least 9x9"):
        pipeline.parse(config_text)


def fewer_arguments(*, output_stride, regularizer, trainable, layer_options):
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("faster_rcnn_resnet50", {}, "'faster_rcnn_resnet50' is a type of the package"),
        ("two words", {}, "'two words'; expected letters, digits and underscores"),
        ("rfcn_own", {}, "'rfcn_own'; .* without the prefix rfcn_"),
        ("own", {"build": make_backbone()}, "'own': build is Backbone.*; expected a function"),
        ("own", {"build": fewer_arguments}, "unexpected keyword argument 'batch_norm_trainable'"),
        ("own", {"build": lambda width, **options: None}, "missing a required argument: 'width'"),
        ("own", {"strides": 16}, None),
        ("own", {"strides": (32,)}, r"strides is \(32,\); expected \(8,\), \(16,\) or"),
        ("own", {"strides": ()}, r"strides is \(\)"),
        ("own", {"smallest_crop": 0}, "smallest_crop is 0; expected 1 or more cells"),
    ],
)
def test_arguments_of_a_registration(name, arguments, message):
    if message is None:
        odm.register_backbone(name, **{"build": build, **arguments})
        assert registry.BACKBONES[name].strides == (16,)
        return
    with pytest.raises(ValueError, match=f"backbone (name )?{message}|{message}"):
        odm.register_backbone(name, **{"build": build, **arguments})


def without(member):
    fields = [f.name for f in dataclasses.fields(Backbone) if f.name != member]
    backbone = make_backbone()
    return type("Own", (), {name: getattr(backbone, name) for name in fields})()


def nested_stage():
    """A model inside a model: both kernels are called kernel."""
    inputs = keras.Input((None, None, 3))
    inner = keras.Sequential(
        [keras.layers.Conv2D(4, 3, strides=4, padding="same") for _ in range(2)], name="inner"
    )
    return keras.Model(inputs, inner(inputs))


@functools.cache
def shared_stage2():
    return convolutions("shared", CHANNELS, (24,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "build returned None, which has no scope, stage1, make_stage2, normalize"),
        (lambda: without("normalize"), "has no normalize; return a backbones.backbone.Backbone"),
        (lambda: make_backbone(scope="a/b"), "scope is 'a/b'; expected a name without '/'"),
        (lambda: make_backbone(make_stage2=None), "make_stage2 is None; expected a function"),
        (lambda: make_backbone(stage1=tf.nn.relu), "stage1 is .*; expected a keras.Model"),
        (
            lambda: make_backbone(stage1=convolutions("gray", 1, (8, 8, 8, CHANNELS))),
            r"stage1 takes inputs of shape \(None, None, None, 1\); expected",
        ),
        (
            lambda: make_backbone(stage1=convolutions("stride8", 3, (8, 8, CHANNELS))),
            "stage1 has stride 8; the config has first_stage_features_stride: 16",
        ),
        (lambda: make_backbone(stage1=nested_stage()), "layer 'inner' has several variables named"),
        (lambda: make_backbone(make_stage2=lambda name: None), "result of make_stage2 is None"),
        (
            lambda: make_backbone(make_stage2=lambda name: convolutions(name, 8, (24,))),
            "expected .* crops of any size of stage1's 16 channels",
        ),
        (
            lambda: make_backbone(
                make_stage2=lambda name: convolutions(name, CHANNELS, (24,), padding="VALID")
            ),
            "no output for a crop of 1x1 cells; register a larger smallest_crop",
        ),
        (
            lambda: make_backbone(make_stage2=lambda name: shared_stage2()),
            "make_stage2 returned the same variables twice",
        ),
    ],
)
def test_mistakes_of_a_backbone_are_named(make, message):
    odm.register_backbone("own", lambda **options: make())
    with pytest.raises(ValueError, match=f"backbone 'own': .*{message}"):
        backbone_builder.build(faster_rcnn_pb2.FasterRcnnFeatureExtractor(type="own"))
