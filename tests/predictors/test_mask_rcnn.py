"""The box predictor of Faster R-CNN on hand-made features."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams
from object_detection_mtl.predictors.roi_head import RoiHead

ONES = LayerHyperparams(initializer={"class_name": "Ones", "config": {}})


def predictor(**options):
    return MaskRcnnBoxPredictor(in_channels=2, num_classes=3, hyperparams=ONES, **options)


def test_linear_layers_read_the_mean_over_space():
    features = tf.constant([[[[1.0, 10.0], [3.0, 20.0]]]])  # means 2 and 15
    boxes, logits = predictor()(features)
    np.testing.assert_allclose(boxes, np.full((1, 3, 4), 17.0))
    np.testing.assert_allclose(logits, np.full((1, 4), 17.0))


def test_one_box_for_all_classes():
    boxes, logits = predictor(share_box_across_classes=True)(tf.zeros([5, 2, 2, 2]))
    assert boxes.shape == (5, 1, 4)
    assert logits.shape == (5, 4)


def test_without_boxes():
    layer = predictor(predict_boxes=False)
    boxes, logits = layer(tf.zeros([5, 2, 2, 2]))
    assert boxes is None
    assert logits.shape == (5, 4)
    assert len(layer.variables) == 2


def test_no_proposals():
    boxes, logits = predictor()(tf.zeros([0, 2, 2, 2]))
    assert boxes.shape == (0, 3, 4)
    assert logits.shape == (0, 4)


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    layer = predictor(dropout_keep_probability=0.5)
    features = tf.ones([2000, 1, 1, 2])
    np.testing.assert_allclose(layer(features, training=False)[1], 2.0)
    dropped = layer(features, training=True)[1].numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0, 4.0}
    assert dropped.mean() == pytest.approx(2.0, rel=0.1)


def test_layers_before_the_predictor():
    """Two of width 3 with a ReLU: (2 + 15) = 17, three times 17 = 51, three times 51 = 153."""
    relu = LayerHyperparams(initializer=ONES.initializer, activation=tf.nn.relu)
    layer = MaskRcnnBoxPredictor(
        in_channels=2, num_classes=3, hyperparams=relu, hidden_layers=2, hidden_depth=3
    )
    features = tf.constant([[[[1.0, 10.0], [3.0, 20.0]]], [[[-1.0, -10.0], [-3.0, -20.0]]]])
    boxes, logits = layer(features)
    np.testing.assert_allclose(logits, [[153.0] * 4, [0.0] * 4])
    np.testing.assert_allclose(boxes[0], np.full((3, 4), 153.0))
    assert [part.name for part in layer.linear_layers] == [
        "fc1",
        "fc2",
        "BoxEncodingPredictor",
        "ClassPredictor",
    ]
    assert len(layer.variables) == 8


def test_features_of_every_cell_instead_of_their_mean():
    layer = predictor(spatial_size=(1, 2))
    features = tf.constant([[[[1.0, 10.0], [3.0, 20.0]]]])
    np.testing.assert_allclose(layer(features)[1], np.full((1, 4), 34.0))
    assert layer.class_head.kernel.shape == (4, 4)


def test_roi_head_runs_stage_two_first():
    head = RoiHead(stage2=lambda crops, training: crops * 2.0, predictor=predictor())
    _, logits = head(tf.ones([1, 3, 3, 2]))
    np.testing.assert_allclose(logits, np.full((1, 4), 4.0))
