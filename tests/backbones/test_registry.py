"""Registry of backbones: every entry has a module and builds its network."""

import importlib
import inspect

import pytest
import tensorflow as tf

from object_detection_mtl.backbones.registry import BACKBONES, TYPE_FIELDS, entry_of_scope
from object_detection_mtl.builders import backbone_builder
from object_detection_mtl.protos import faster_rcnn_pb2

# Of every module once; the others differ in depth.
QUICK = (
    "faster_rcnn_efficientnet_v2_b0",
    "faster_rcnn_inception_v2",
    "faster_rcnn_mobilenet_v1",
    "faster_rcnn_mobilenet_v3_large",
    "faster_rcnn_resnet50",
)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_module_takes_the_arguments_of_its_entry(kind):
    entry = BACKBONES[kind]
    module = importlib.import_module(f"object_detection_mtl.backbones.{entry.module}")
    signature = inspect.signature(module.build)
    common = ("output_stride", "regularizer", "batch_norm_trainable", "trainable", "layer_options")
    of_type = {backbone_builder.TYPE_ARGUMENTS[name][0] for name in entry.fields}
    assert set(signature.parameters) == {*common, *entry.arguments, *of_type}


def test_every_field_of_some_types_has_an_argument():
    assert set(backbone_builder.TYPE_ARGUMENTS) == set(TYPE_FIELDS)
    fields = set(faster_rcnn_pb2.FasterRcnnFeatureExtractor.DESCRIPTOR.fields_by_name)
    assert set(TYPE_FIELDS) <= fields


@pytest.mark.parametrize(
    "kind",
    [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in BACKBONES],
)
def test_an_entry_builds_its_network(kind):
    entry = BACKBONES[kind]
    config = faster_rcnn_pb2.FasterRcnnFeatureExtractor(type=kind)
    backbone = backbone_builder.build(config)
    assert backbone.scope == entry.scope
    assert entry_of_scope(entry.scope).scope == entry.scope
    features = backbone.stage1(tf.zeros([1, 96, 64, 3]))
    assert features.shape[1:3] == (6, 4)
    stage2 = backbone.make_stage2("stage2")
    side = entry.smallest_crop
    outputs = stage2(tf.zeros([2, side, side, features.shape[-1]]))
    # Without oneDNN a crop that is too small gives no cell, with it more cells than it has.
    assert 1 <= outputs.shape[1] <= side


def test_other_strides_are_refused():
    for kind, entry in BACKBONES.items():
        if entry.strides == (16,) and kind in QUICK:
            config = faster_rcnn_pb2.FasterRcnnFeatureExtractor(
                type=kind, first_stage_features_stride=8
            )
            with pytest.raises(ValueError, match="output_stride is 8; .* supports 16"):
                backbone_builder.build(config)
