"""R-FCN's second stage on maps that its network cannot take."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from object_detection_mtl.data import graph_errors
from object_detection_mtl.models.rfcn import MapSecondStage

BOXES = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])


def read(height, width, **options):
    """Input of stage 2, here the identity, in a graph without static sizes."""
    head = SimpleNamespace(stage2=lambda features, training: features)
    stage = MapSecondStage(head, **options)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2])], autograph=False)
    def call(features):
        return stage.read(features, BOXES).classifier_features

    return call(tf.ones([1, height, width, 2]))


def test_a_map_that_is_large_enough():
    assert read(3, 4, smallest_map=3).shape == [1, 3, 4, 2]
    assert read(1, 1).shape == [1, 1, 1, 2]


@pytest.mark.parametrize(("height", "width"), [(2, 9), (9, 2)])
def test_a_map_that_is_too_small(height, width):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        read(height, width, smallest_map=3)
    said = graph_errors.explain(error.value)
    assert "the image is too small for this network" in said
    assert "at least 3x3, raise the dimensions of the image_resizer" in said
    assert said.endswith(f"[{height} {width}]") or said.endswith(f"{height} {width}"), said
