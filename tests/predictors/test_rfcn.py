"""The box predictor of R-FCN on hand-made features."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.predictors.map_head import MapHead
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams
from object_detection_mtl.predictors.rfcn import RfcnBoxPredictor
from tests.ops.graphs import call_with_unknown_sizes

WHOLE = [0.0, 0.0, 1.0, 1.0]
ONES = LayerHyperparams(initializer={"class_name": "Ones", "config": {}}, activation=tf.nn.relu)


def predictor(**options):
    options = {"depth": 5, "num_bins": (1, 2), "crop_size": (2, 6), **options}
    return RfcnBoxPredictor(in_channels=3, num_classes=2, hyperparams=ONES, **options)


def test_shapes():
    """The shapes of the OD API's own test: four images, two boxes each, two classes."""
    layer = RfcnBoxPredictor(in_channels=64, num_classes=2, hyperparams=ONES, depth=32)
    encodings, logits = layer(tf.zeros([4, 8, 8, 64]), tf.zeros([4, 2, 4]))
    assert encodings.shape == (4, 2, 2, 4)
    assert logits.shape == (4, 2, 3)


def test_two_convolutions_with_a_relu_between_then_the_mean_of_the_bins():
    layer = predictor()
    features = tf.constant([[[[1.0, 0.0, 1.0], [-4.0, 1.0, 1.0], [1.0, 1.0, 2.0]]]])
    # Sums over channels 2, -2, 4; after the ReLU 2, 0, 4, five times. The left bin samples cells
    # 0, 0.5 and 1, the right one 1, 1.5 and 2.
    expected = 5 * ((2 + 1 + 0) / 3 + (0 + 2 + 4) / 3) / 2
    encodings, logits = layer(features, tf.constant([[WHOLE]]))
    np.testing.assert_allclose(encodings, np.full((1, 1, 2, 4), expected), rtol=1e-6)
    np.testing.assert_allclose(logits, np.full((1, 1, 3), expected), rtol=1e-6)


def test_the_order_of_maps_is_bin_then_class_then_number():
    """As in the reference implementations, whose weights must fit."""
    layer = predictor()
    for head in (layer.box_head, layer.class_head):
        head.kernel.assign(tf.zeros_like(head.kernel))
        head.bias.assign(tf.range(head.filters, dtype=tf.float32))
    encodings, logits = layer(tf.zeros([1, 4, 4, 3]), tf.constant([[WHOLE]]))
    np.testing.assert_allclose(logits[0, 0], (np.arange(3) + np.arange(3, 6)) / 2)
    np.testing.assert_allclose(
        encodings[0, 0], ((np.arange(8) + np.arange(8, 16)) / 2).reshape(2, 4)
    )


def test_without_boxes():
    layer = predictor(predict_boxes=False)
    encodings, logits = layer(tf.zeros([1, 4, 4, 3]), tf.zeros([1, 6, 4]))
    assert encodings is None
    assert logits.shape == (1, 6, 3)
    assert [part.name for part in layer.linear_layers] == ["reduce_depth", "class_predictions"]
    assert len(layer.variables) == 4


def test_no_proposals():
    encodings, logits = predictor()(tf.zeros([2, 4, 4, 3]), tf.zeros([2, 0, 4]))
    assert encodings.shape == (2, 0, 2, 4)
    assert logits.shape == (2, 0, 3)


def test_sizes_unknown_to_the_graph():
    layer = predictor()
    random = np.random.RandomState(0)
    features = random.standard_normal((2, 4, 5, 3)).astype(np.float32)
    boxes = np.tile(np.float32([0.1, 0.2, 0.8, 0.9]), [2, 3, 1])
    logits = call_with_unknown_sizes(lambda f, b: layer(f, b)[1], features, boxes)
    np.testing.assert_allclose(logits, layer(features, boxes)[1], rtol=1e-5)


def test_map_head_runs_stage_two_on_the_map():
    head = MapHead(
        stage2=lambda features, training: features[:, ::2, ::2] * 2, predictor=predictor()
    )
    _, logits = head(tf.ones([1, 7, 7, 3]), tf.constant([[WHOLE]]))
    np.testing.assert_allclose(logits, np.full((1, 1, 3), 30.0))


def test_bins_must_divide_the_crop():
    with pytest.raises(ValueError, match="crop_height is 3 and num_spatial_bins_height is 2"):
        predictor(num_bins=(2, 2), crop_size=(3, 4))
